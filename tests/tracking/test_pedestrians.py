"""Frames of pedestrians.mp4 in which people were once drawn twice."""

import numpy as np
import pytest

import rmpe
from rmpe.media.video import Video
from rmpe.suppress.oks import pairwise_oks


@pytest.mark.slow  # decodes 122 frames and runs the models that ship
def test_nobody_is_found_twice_in_frames_120_and_121(data_root):
    estimator = rmpe.load(threads=1)
    seen = 0
    with Video(data_root / "data/pedestrians.mp4") as video:
        for frame in video:
            if frame.index > 121:
                break
            if frame.index < 120:
                continue
            poses = estimator(frame.image)
            drawn = poses[poses.scores >= 0.3]
            seen += 1
            assert len(drawn) >= 6
            assert np.triu(pairwise_oks(drawn), 1).max() < 0.45
    assert seen == 2
