// Parametric pose NMS: one pose a person. Source: Fang et al., RMPE (ICCV 2017), section 3.2, Eq. 7-10.
// Lengths are fractions of the person's size, the longer side of the box, as in rmpe.suppress.parametric.

const HALF_SIDE = 0.05; // soft matching counts within a tenth of the box around the joint
const LOWEST = -80; // exp of less is 0 for our purposes

const size = ({ box }) => Math.max(box[2] - box[0], box[3] - box[1], 1);

/** d of Eq. 10: how much `other` is like `pose`, from 0 to 1 + lam. */
export function similarity(pose, other, { sigma1, sigma2, lam }) {
  const square = size(pose) ** 2;
  const half = [(pose.box[2] - pose.box[0]) * HALF_SIDE, (pose.box[3] - pose.box[1]) * HALF_SIDE];
  let [sum, count] = [0, 0];
  pose.joints.forEach((joint, index) => {
    const twin = other.joints[index];
    if (joint.score <= 0 || twin.score <= 0) return;
    const [dx, dy] = [joint.x - twin.x, joint.y - twin.y];
    count += 1;
    sum += lam * Math.exp(Math.max(-(dx * dx + dy * dy) / square / sigma2, LOWEST));
    if (Math.abs(dx) <= half[0] && Math.abs(dy) <= half[1]) sum += Math.tanh(joint.score / sigma1) * Math.tanh(twin.score / sigma1);
  });
  return sum / Math.max(count, 1);
}

/** Joints of removed poses that lie near the kept one's are averaged into it, by their squared scores. */
function merged(pose, removed, radius) {
  const joints = pose.joints.map((joint, index) => {
    let total = joint.score ** 2;
    let [x, y] = [0, 0];
    for (const other of removed) {
      const twin = other.joints[index];
      const [dx, dy] = [twin.x - joint.x, twin.y - joint.y];
      if (dx * dx + dy * dy > radius * radius) continue;
      const weight = twin.score ** 2;
      total += weight;
      x += dx * weight;
      y += dy * weight;
    }
    return total > 0 ? { ...joint, x: joint.x + x / total, y: joint.y + y / total } : joint;
  });
  return { ...pose, joints };
}

/** The poses without redundant ones, best first. A pose is {box, joints: [{x, y, score}], score}. */
export function poseNms(poses, parameters) {
  const ranked = [...poses].sort((a, b) => b.score - a.score);
  const gone = new Set();
  const kept = [];
  for (const pose of ranked) {
    if (gone.has(pose)) continue;
    gone.add(pose);
    const removed = ranked.filter((other) => !gone.has(other) && similarity(pose, other, parameters) > parameters.eta);
    for (const other of removed) gone.add(other);
    kept.push(removed.length ? merged(pose, removed, parameters.merge * size(pose)) : pose);
  }
  return kept;
}
