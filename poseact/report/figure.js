/** The picture of a moment, with the skeletons of whom it shows. */

/** moment: null shows an empty place. person: who stands out, -1: all alike. */
function figure(video, moment, { person = -1, width = 2 } = {}) {
  const aspect = videos.width[video] / videos.height[video];
  const box = h("div", { class: "figure", style: `aspect-ratio: ${aspect}`, "--aspect": aspect });
  if (moment === null) return box;
  const picture = pictureOf(moment);
  if (picture)
    box.append(h("img", { src: picture, alt: `Picture at ${clock(moments.time[moment] / 1000)}`, decoding: "async" }));
  box.append(skeletons(video, moment, aspect, person, width));
  return box;
}

function skeletons(video, moment, aspect, person, width) {
  const canvas = svg("svg", {
    viewBox: `0 0 ${1000 * aspect} 1000`,
    preserveAspectRatio: "none",
    "aria-hidden": "true",
  });
  const { limbs } = data.layouts[videos.layout[video]];
  const people = peopleOf(video, moment);
  const anyStandsOut = people.some((each) => each.id === person);
  for (const { id, keypoints } of people) {
    const group = svg("g", anyStandsOut && id !== person ? { class: "other" } : {});
    const lines = limbsPath(keypoints, limbs, aspect);
    const dots = jointsPath(keypoints, aspect);
    group.append(
      svg("path", { d: lines + dots, class: "halo", "stroke-width": width + 2 }),
      svg("path", { d: lines, stroke: skeletonColour(id), "stroke-width": width }),
      svg("path", { d: dots, stroke: "#fff", "stroke-width": width + 0.5 }),
    );
    canvas.append(group);
  }
  return canvas;
}

const point = ([x, y], aspect) => `${(1000 * aspect * x).toFixed(1)} ${(1000 * y).toFixed(1)}`;

function limbsPath(keypoints, limbs, aspect) {
  return limbs
    .filter(([a, b]) => keypoints[a][2] >= LEAST_KEYPOINT && keypoints[b][2] >= LEAST_KEYPOINT)
    .map(([a, b]) => `M${point(keypoints[a], aspect)}L${point(keypoints[b], aspect)}`)
    .join("");
}

/** Lines of no length, whose round ends are dots. */
function jointsPath(keypoints, aspect) {
  return keypoints
    .filter((keypoint) => keypoint[2] >= LEAST_KEYPOINT)
    .map((keypoint) => `M${point(keypoint, aspect)}h0`)
    .join("");
}

/** What a row says: its label and score. */
function saying(row) {
  const own = corrections.of(row);
  const label = h(
    "span",
    {},
    labelChip(code[row], "main"),
    own ? ` → ${own.label === labelName(code[row]) ? "✓" : own.label}` : "",
  );
  return h("div", { class: "says" }, label, h("span", { class: "number" }, percent(rows.score[row])));
}

/** The likeliest labels of a row as bars. */
function topBars(row) {
  const list = h("dl", { class: "bars" });
  for (const [label, score] of topOf(row)) {
    const bar = h(
      "dd",
      { class: "bar", "aria-hidden": "true", "--colour": colourOf(label) },
      h("i", { style: `width: ${score / 10}%` }),
    );
    list.append(h("dt", {}, data.labels[label]), bar, h("dd", {}, percent(score)));
  }
  return list;
}

/** "0:02.0 to 0:04.0, person 3". */
function spanOf(row) {
  const person = rows.person[row] < 0 ? "" : `, person ${rows.person[row]}`;
  return `${clock(startOf(row))} to ${clock(endOf(row))}${person}`;
}

/** The card beside a timeline: what is there at a time. */
const peek = byId("peek");

function showPeek(video, row, time, x, y) {
  const moment = momentNear(video, time);
  const parts = [saying(row), h("div", { class: "quiet" }, spanOf(row)), topBars(row)];
  if (moment !== null) {
    const at = moments.time[moment] / 1000;
    if (Math.abs(at - time) > 1) parts.push(h("div", { class: "quiet" }, `The nearest picture is of ${clock(at)}.`));
    parts.unshift(figure(video, moment, { person: rows.person[row] }));
  }
  peek.replaceChildren(...parts);
  peek.hidden = false;
  (byId("viewer").open ? byId("viewer") : document.body).append(peek);
  const { offsetWidth: width, offsetHeight: height } = peek;
  const left = Math.min(Math.max(8, x - width / 2), innerWidth - width - 8);
  const above = y - height - 14;
  peek.style.left = `${left}px`;
  peek.style.top = `${above >= 8 ? above : Math.min(y + 26, innerHeight - height - 8)}px`;
}

const hidePeek = () => (peek.hidden = true);
