"""The networks and the geometry that trainer and renderer share.

`window` needs numpy alone, so that the renderer runs without torch; `strokes` and `generator` are torch modules.
Nothing is imported here, so that importing `services.common.nn.window` loads no model library.
"""
