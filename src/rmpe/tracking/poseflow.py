"""PoseFlow: pose flows through the video, linked by image features.

Every frame goes through these steps: link it with the previous frame by image features, value each
pose over the look-ahead window (dynamic programming), continue flows, re-link broken flows, start
new flows, and suppress flows that follow the same person.

Source: Xiu, Li, Wang, Fang, Lu, "Pose Flow: Efficient Online Pose Tracking", BMVC 2018.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rmpe.errors import UsageError
from rmpe.poses import Poses
from rmpe.suppress.clusters import merge_joints
from rmpe.suppress.parametric import PoseNmsParameters, pose_similarity
from rmpe.tracking.assignment import max_weight_matching
from rmpe.tracking.belief import BeliefParameters
from rmpe.tracking.features import (
    JOINT_BOX,
    SmallPicture,
    follow,
    joint_features,
    matched_share,
    shrink,
)
from rmpe.tracking.flow import (
    FAR_SLACK,
    PLACE_SLACK,
    Flow,
    Sightings,
    likeness,
    relink_similarity,
)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PoseFlowParameters:
    """Settings of `PoseFlow`; times are in frames.

    Attributes:
        lookahead: Frames seen beyond the frame being decided; equals the latency.
        memory: Frames a person may be unseen and still keep the id.
        link: Smallest share of matched features at which two poses can be the same person.
        link_weight: Value of a link with all features matched, on the scale of s(Q), 0 to 3.
        stop: Smallest value of a pose that a flow continues with (the stop criterion).
        birth: Smallest value of a pose that starts a flow; also required of the mean value per
            frame over the look-ahead.
        sure: Smallest pose score that starts a flow or takes up a broken one, because a single
            confident joint can raise s(Q) of a false detection. Weaker poses only continue flows.
        relink: Smallest similarity of position, size and colours, 0 to 1, that re-links a broken
            flow.
        belief: When a flow is a person; the poses of others get no id, so that they are neither
            drawn nor counted.
        shared: Frames over which flow NMS compares two flows.
        nms: Pose similarity and threshold of flow NMS, the same as in pose NMS.
    """

    lookahead: int = 0
    memory: int = 60
    link: float = 0.2
    link_weight: float = 4.0
    stop: float = 0.2
    birth: float = 0.9
    sure: float = 0.2
    relink: float = 0.05
    belief: BeliefParameters = field(default_factory=BeliefParameters)
    shared: int = 10
    nms: PoseNmsParameters = field(default_factory=PoseNmsParameters)

    def __post_init__(self) -> None:
        if self.lookahead < 0 or self.memory < 1 or self.shared < 1:
            raise UsageError(
                "PoseFlow: lookahead must not be negative, memory and shared must be at least 1"
            )


@dataclass
class _Frame:
    """One frame of the window.

    Attributes:
        poses: N poses.
        worth: s(Q) of each pose, ``(N,)``.
        seen: Their positions and colours.
        links: Matched share with the poses of the next frame, ``(N, M)``; ``None`` for the newest
            frame.
        outlook: ``links``, and where features link neither of two poses, their likeness.
        flows: The flow of each pose, once decided.
        similarity: Intra-frame similarity ``(N, N)``, once decided.
    """

    poses: Poses
    worth: Array
    seen: Sightings
    links: Array | None = None
    outlook: Array | None = None
    flows: list[Flow | None] = field(default_factory=list)
    similarity: NDArray[np.float32] | None = None


class PoseFlow:
    """The tracker of the RMPE authors, after the paper.

    Attributes:
        latency: The look-ahead in frames; 0 returns ids immediately.

    Source: PoseFlow, sections 3.2 (flow building) and 3.3 (pose flow NMS).
    Differs: flows compete for the poses of a frame in one exact assignment instead of choosing one
        after the other; the value of a link is added to s(Q), because two people who cross are both
        close enough to be linked; s(Q) uses the pose score as the box score; broken flows are
        re-linked online by position, velocity and limb colours; where no feature is followed,
        look-ahead goes by place and pose.
    """

    def __init__(self, parameters: PoseFlowParameters | None = None) -> None:
        self.parameters = parameters or PoseFlowParameters()
        self.latency = self.parameters.lookahead
        self._next_id = 0
        self._start()

    def _start(self) -> None:
        self._picture: SmallPicture | None = None
        self._pending: deque[_Frame] = deque()
        self._decided: deque[_Frame] = deque(maxlen=self.parameters.shared)
        self._broken: list[Flow] = []

    def update(self, image: NDArray[np.uint8], poses: Poses) -> list[Poses]:
        """See `Tracker.update`."""
        picture = shrink(image)
        newest = (
            self._pending[-1] if self._pending else self._decided[-1] if self._decided else None
        )
        if newest is not None and self._picture is not None:
            followed = follow(self._picture, picture, joint_features(newest.poses))
            newest.links = matched_share(newest.poses, followed, poses)
            newest.outlook = self._outlook(newest.links, likeness(newest.poses, poses))
        self._picture = picture
        self._pending.append(_Frame(poses, worth(poses), Sightings.of(image, poses)))
        return [self._decide()] if len(self._pending) > self.latency else []

    def flush(self) -> list[Poses]:
        """See `Tracker.flush`."""
        rest = [self._decide() for _ in range(len(self._pending))]
        self._start()
        return rest

    def _decide(self) -> Poses:
        """Assign ids in the oldest undecided frame of the window."""
        ahead = window_values(self._pending, self.parameters)
        frames = len(self._pending)
        frame = self._pending.popleft()
        frame.flows = [None] * len(frame.poses)
        self._continue(frame, ahead)
        self._relink(frame)
        born = (np.minimum(frame.worth, ahead / frames) >= self.parameters.birth) & self._sure(
            frame
        )
        for index, flow in enumerate(frame.flows):
            if flow is None and born[index]:
                frame.flows[index] = Flow.begin(self._next_id, frame.seen, index)
                self._next_id += 1
        poses = self._suppress(frame)
        self._decided.append(frame)
        return poses

    def _continue(self, frame: _Frame, ahead: Array) -> None:
        """Continue the flows of the previous frame along their features."""
        for broken in self._broken:
            broken.wait()
        if not self._decided:
            return
        previous = self._decided[-1]
        heads = [(index, flow) for index, flow in enumerate(previous.flows) if flow is not None]
        links = (
            np.zeros((0, len(frame.poses)))
            if previous.links is None
            else previous.links[[i for i, _ in heads]]
        )
        gain = self.parameters.link_weight * links + ahead
        taken = dict(
            zip(*max_weight_matching(np.where(links >= self.parameters.link, gain, 0)), strict=True)
        )
        for row, (_, flow) in enumerate(heads):
            flow.wait()
            if row in taken:
                frame.flows[taken[row]] = flow.see(frame.seen, int(taken[row]))
            else:
                self._broken.append(flow)

    def _relink(self, frame: _Frame) -> None:
        """Continue broken flows with poses that belong to no flow yet."""
        self._broken = [flow for flow in self._broken if flow.unseen <= self.parameters.memory]
        free = np.array(
            [index for index in np.flatnonzero(self._sure(frame)) if frame.flows[index] is None],
            np.int64,
        )
        free = self._take_up(frame, free, self._broken, PLACE_SLACK)
        # Nobody follows who was there a frame ago: features were lost, and people may be far.
        self._take_up(frame, free, [flow for flow in self._broken if flow.unseen == 1], FAR_SLACK)

    def _take_up(
        self, frame: _Frame, free: NDArray[np.int64], flows: list[Flow], slack: float
    ) -> NDArray[np.int64]:
        """Continue broken ``flows`` with the poses ``free``; returns those still free."""
        similarity = relink_similarity(flows, frame.seen[free], slack)
        taken = list(zip(*max_weight_matching(similarity - self.parameters.relink), strict=True))
        for row, column in taken:
            index = int(free[column])
            frame.flows[index] = flows[row].see(frame.seen, index)
        again = {id(flows[row]) for row, _ in taken}
        self._broken = [flow for flow in self._broken if id(flow) not in again]
        return np.delete(free, [column for _, column in taken])

    def _outlook(self, links: Array, alike: Array) -> Array:
        """Links, where poses that no feature links are linked by place and pose if they are alike.

        On blank walls, in black frames and in videos of few frames a second no feature is found
        again; that says nothing about a pose.
        """
        enough = self.parameters.link
        lost = (links.max(axis=1, initial=0) < enough)[:, None] & (
            links.max(axis=0, initial=0) < enough
        )
        near = lost & (alike >= self.parameters.relink)
        return np.where(near, np.maximum(alike, enough), links)

    def _sure(self, frame: _Frame) -> NDArray[np.bool_]:
        return frame.poses.scores >= self.parameters.sure

    def _suppress(self, frame: _Frame) -> Poses:
        """Pose flow NMS, merging and confidence unification; the final poses of the frame."""
        poses = frame.poses
        leader = np.arange(len(frame.poses))
        frame.similarity = pose_similarity(poses, poses, self.parameters.nms)
        close = np.triu(
            np.maximum(frame.similarity, frame.similarity.T) > self.parameters.nms.eta, 1
        )
        for a, b in zip(*np.nonzero(close), strict=True):
            first = frame.flows[a]
            second = frame.flows[b]
            if (
                first is None
                or second is None
                or self._distance(first, second, frame) <= self.parameters.nms.eta
            ):
                continue
            stays = first if first.confidence >= second.confidence else second
            winner, loser = (a, b) if stays is first else (b, a)
            leader[leader == loser] = winner
            frame.flows[loser] = None
            stays.id = min(first.id, second.id)
        points = poses.keypoints.copy()
        kept = np.flatnonzero(leader == np.arange(len(leader)))
        if len(kept) < len(leader):
            radius = poses.sizes * (JOINT_BOX / 2)
            points[kept] = merge_joints(poses.keypoints, poses.keypoint_scores, leader, radius)
        ids = np.array([self._shown_id(flow) for flow in frame.flows], np.int64)
        scores = np.array(
            [
                score if flow is None else flow.confidence
                for score, flow in zip(poses.scores, frame.flows, strict=True)
            ],
            np.float32,
        )
        return poses.replace(keypoints=points, scores=scores, track_ids=ids)[kept]

    def _shown_id(self, flow: Flow | None) -> int:
        """The id that the outside sees: -1 for a flow that is not believed (yet)."""
        believed = flow is not None and flow.belief.is_person(self.parameters.belief)
        return flow.id if flow is not None and believed else -1

    def _distance(self, a: Flow, b: Flow, frame: _Frame) -> float:
        """Median similarity of two flows over the frames with both."""
        values = []
        for shared in (*self._decided, frame):
            if a in shared.flows and b in shared.flows and shared.similarity is not None:
                row = shared.flows.index(a)
                column = shared.flows.index(b)
                values.append(max(shared.similarity[row, column], shared.similarity[column, row]))
        return float(np.median(values))


def worth(poses: Poses) -> Array:
    """s(Q) of every pose, ``(N,)`` in [0, 3].

    The sum of the pose score and the mean and the maximum of its joint confidences.
    """
    joints = poses.keypoint_scores
    return (poses.scores + joints.mean(axis=1) + joints.max(axis=1, initial=0)).astype(np.float64)


def window_values(frames: Iterable[_Frame], parameters: PoseFlowParameters) -> Array:
    """The value of each pose of the first frame together with its best continuation, ``(N,)``.

    ``V(Q) = s(Q) - stop + max(0, max over linked P of (link_weight * link(Q, P) + V(P)))``,
    computed from the last frame backwards. Each pose P counts only for the Q with its strongest
    link, or a ghost would inherit the value of the person next to it.
    """
    later = np.zeros(0)
    for frame in reversed(list(frames)):
        onward = np.zeros(len(frame.poses))
        links = frame.outlook
        if links is not None and links.size:
            gain = parameters.link_weight * links + later
            own = (links >= parameters.link) & (links == links.max(axis=0))
            onward = np.where(own, gain, 0).max(axis=1, initial=0)
        later = frame.worth - parameters.stop + np.maximum(onward, 0)
    return later
