"""What each image is and holds."""

from __future__ import annotations

import json

import pytest

from tests.repo.tree import STAGES
from tests.support.compose import docker

pytestmark = [pytest.mark.containers, pytest.mark.timeout(3600)]

OURS = (*STAGES, "gateway", "store-setup", "minio")
MIB = 1 << 20
MOST_MIB = {"gateway": 450, "normalization": 450, "downloader": 450, "pose": 900, "segmentation": 900, "renderer": 900}


def test_no_image_is_larger_than_it_should_be(images: dict[str, int]) -> None:
    assert set(images) == set(OURS)
    assert not {name: size // MIB for name, size in images.items() if size > MOST_MIB.get(name, 1 << 20) * MIB}


@pytest.mark.parametrize("image", OURS)
def test_it_runs_as_nobody_in_particular_with_no_way_to_install(image: str, images: dict[str, int]) -> None:
    assert json.loads(docker("image", "inspect", f"understudy/{image}:dev"))[0]["Config"]["User"] == "10001:10001"
    confined = ("--rm", "--read-only", "--network", "none", "--cap-drop", "ALL", f"understudy/{image}:dev")
    if image != "minio":
        program = "import importlib.util as u; print([name for name in ('pip', 'uv') if u.find_spec(name)])"
        assert docker("run", *confined, "python", "-c", program) == "[]"


@pytest.mark.parametrize("image", STAGES)
def test_it_holds_its_own_service_and_torch_only_where_that_is_trained(image: str, images: dict[str, int]) -> None:
    program = (
        "import importlib.util as u, os, json;"
        "print(json.dumps([sorted(os.listdir('/app/services')), u.find_spec('torch') is not None,"
        " os.path.exists('/app/gateway')]))"
    )
    services, torch, gateway = json.loads(docker("run", "--rm", f"understudy/{image}:dev", "python", "-c", program))
    assert {name for name in services if not name.startswith("__")} == {"common", image}
    assert torch == (image == "trainer")
    assert not gateway
