"""OpenVINO, safe to use from several threads."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import openvino

_lock = threading.Lock()
_warm = False


def new_core() -> openvino.Core:
    """A new core. Every user of OpenVINO gets its core here.

    The binding sets up its conversion of arrays at the first call that needs it, under a C++ guard that it holds
    while it waits for the interpreter's lock: two threads that infer for the first time at once can wait for each
    other forever, and the whole process with them. So the first inference of a process is made here, by one thread.
    """
    import openvino
    from openvino import opset13

    global _warm  # noqa: PLW0603 - a property of the process, like the binding's own
    with _lock:
        core = openvino.Core()
        if not _warm:
            given = opset13.parameter([1, 2], openvino.Type.f32)
            model = openvino.Model([opset13.relu(given)], [given], "first")
            request = core.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1}).create_infer_request()
            for shared in (True, False):
                request.infer([np.ones((1, 2), dtype=np.float32)], share_inputs=shared, share_outputs=shared)
            np.array(request.get_output_tensor(0).data)
            _warm = True
    return core
