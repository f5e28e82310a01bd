"""The networks and the geometry that trainer and renderer share.

`window`, `layer` and `face` need numpy and OpenCV at most, so that the renderer runs without torch; the networks
(`strokes`, `generator`, `refiner`, `pix2pixhd`) are torch modules.
Nothing is imported here, so that importing `services.common.nn.window` loads no model library.
"""
