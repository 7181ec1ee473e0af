"""Measuring poses: COCO, CrowdPose, MPII multi-person, PoseTrack and PCKh, from result files.

One protocol a module; each returns a dict of figures under the names the field uses. Nothing here
needs torch. What the protocols are and where they differ from the official tools is in
``docs/evaluation.md``.
"""
