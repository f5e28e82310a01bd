"""The BlazePose family of networks, run by OpenVINO: detector, body, hand and face landmarks.

Bazarevsky et al., "BlazePose: On-device Real-time Body Pose tracking" (2020); Zhang et al., "MediaPipe Hands"
(2020); Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs" (2019).
"""
