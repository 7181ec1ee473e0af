"""From poses in frames to people in a video."""

from rmpe.track.oks_tracker import OksTracker
from rmpe.track.poseflow import PoseFlow, PoseFlowParameters
from rmpe.track.smooth import OneEuro
from rmpe.track.tracker import Tracker

__all__ = ["OksTracker", "OneEuro", "PoseFlow", "PoseFlowParameters", "Tracker"]
