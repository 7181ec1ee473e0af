"""Evaluation of result files by COCO, CrowdPose, MPII multi-person, PoseTrack and PCKh.

Each protocol is one module and returns a dictionary of figures under their standard names. Nothing
here needs torch. ``docs/evaluation.md`` describes the protocols and the differences from the
official tools.
"""
