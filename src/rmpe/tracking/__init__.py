"""Pose tracking: consistent ids for people across the frames of a video."""

from rmpe.tracking.oks_tracker import OksTracker
from rmpe.tracking.poseflow import PoseFlow, PoseFlowParameters
from rmpe.tracking.smooth import OneEuro
from rmpe.tracking.tracker import Tracker

__all__ = ["OksTracker", "OneEuro", "PoseFlow", "PoseFlowParameters", "Tracker"]
