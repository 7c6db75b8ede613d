/** What is known of the videos: the columns of contents.py as arrays, and what follows from them.
 * A row is a clip's label, of one person if `person` is not -1. A code is a label's number, or UNSURE or NOBODY. */

const data = JSON.parse(byId("data").textContent);
const { videos, rows, moments } = data;
const VIDEOS = videos.name.length;
const ROWS = rows.start.length;
const UNSURE = data.labels.length;
const NOBODY = UNSURE + 1;
const CODES = NOBODY + 1;

const labelName = (code) => (code < UNSURE ? data.labels[code] : code === UNSURE ? "unsure" : "nobody found");

/** Where each one's part of a longer column begins; one entry more than there are counts. */
function beginnings(counts) {
  const first = new Uint32Array(counts.length + 1);
  for (let i = 0; i < counts.length; i++) first[i + 1] = first[i] + counts[i];
  return first;
}

const firstRow = beginnings(videos.rows);
const firstMoment = beginnings(videos.moments);
const firstTop = beginnings(rows.tops);
const firstPicture = beginnings(moments.picture);
const firstId = beginnings(moments.people);
const code = Int32Array.from(rows.label, (label, row) => (label >= 0 ? label : rows.score[row] >= 0 ? UNSURE : NOBODY));
const videoOf = new Uint32Array(ROWS);
const perPerson = rows.person.some((person) => person >= 0);

/** A keypoint of a lower score is not drawn. */
const LEAST_KEYPOINT = 0.3;

/** Seconds of a row's clip. */
const startOf = (row) => rows.start[row] / 1000;
const endOf = (row) => (rows.start[row] + rows.length[row]) / 1000;

/** Seconds that a row has for itself: where clips of the same person overlap, the border is in the middle. */
const from = Float64Array.from(rows.start, (start) => start / 1000);
const to = Float64Array.from(rows.start, (_, row) => endOf(row));

function drawBorders(video, last) {
  last.clear();
  for (let row = firstRow[video]; row < firstRow[video + 1]; row++) {
    videoOf[row] = video;
    const before = last.get(rows.person[row]);
    if (before !== undefined && from[row] < to[before]) {
      to[before] = Math.max(from[before], (from[row] + to[before]) / 2);
      from[row] = to[before];
    }
    last.set(rows.person[row], row);
  }
}

for (let video = 0, last = new Map(); video < VIDEOS; video++) drawBorders(video, last);

/** Of each video: its length in seconds, the label that it shows longest, its least score and the most people at once. */
const lengthOf = new Float64Array(VIDEOS);
const mainCode = new Int32Array(VIDEOS);
const leastScore = new Int32Array(VIDEOS);
const mostPeople = new Int32Array(VIDEOS);

/** The codes of a video with the share of its labelled time that each has, largest first. */
function sharesOf(video) {
  const seconds = new Map();
  let total = 0;
  for (let row = firstRow[video]; row < firstRow[video + 1]; row++) {
    seconds.set(code[row], (seconds.get(code[row]) ?? 0) + to[row] - from[row]);
    total += to[row] - from[row];
  }
  return [...seconds].sort((a, b) => b[1] - a[1]).map(([which, part]) => [which, part / (total || 1)]);
}

function sumUp(video) {
  lengthOf[video] = videos.seconds[video] / 1000;
  const shares = sharesOf(video);
  mainCode[video] = (shares.find(([which]) => which < UNSURE) ?? shares[0] ?? [NOBODY])[0];
  let least = -1;
  for (let row = firstRow[video]; row < firstRow[video + 1]; row++) {
    lengthOf[video] = Math.max(lengthOf[video], endOf(row));
    mostPeople[video] = Math.max(mostPeople[video], rows.persons[row]);
    if (rows.score[row] >= 0 && (least < 0 || rows.score[row] < least)) least = rows.score[row];
  }
  leastScore[video] = least;
}

for (let video = 0; video < VIDEOS; video++) sumUp(video);

/** The rows of each person of a video, who is there longest first; of the clips where no rows are of a person. */
function lanesOf(video) {
  const lanes = new Map();
  const indices = Array.from({ length: videos.rows[video] }, (_, i) => firstRow[video] + i);
  const people = indices.some((row) => rows.person[row] >= 0);
  for (const row of indices) {
    if (people && rows.person[row] < 0) continue;
    if (!lanes.has(rows.person[row])) lanes.set(rows.person[row], []);
    lanes.get(rows.person[row]).push(row);
  }
  return [...lanes].map(([person, own]) => ({ person, rows: own })).sort((a, b) => b.rows.length - a.rows.length);
}

/** [label, thousandths] of the likeliest labels of a row. */
function topOf(row) {
  const top = [];
  for (let i = firstTop[row]; i < firstTop[row + 1]; i++) top.push([rows.top[2 * i], rows.top[2 * i + 1]]);
  return top;
}

/** The moment of a video that is nearest to a time; null if it has none. */
function momentNear(video, time) {
  let best = null;
  for (let i = firstMoment[video]; i < firstMoment[video + 1]; i++) {
    if (best === null || Math.abs(moments.time[i] / 1000 - time) < Math.abs(moments.time[best] / 1000 - time)) best = i;
  }
  return best;
}

let pieces = null;

/** The piece of the pictures' text that holds a place; undefined until all of the file is there. */
function pieceAt(place) {
  if (document.readyState === "loading") return undefined;
  pieces ??= [...document.querySelectorAll("script.pictures")].map((node) => ({
    node,
    start: Number(node.dataset.start),
  }));
  const piece = pieces.findLast((each) => each.start <= place);
  piece.text ??= piece.node.textContent;
  return piece;
}

/** The address of a moment's picture; null if it has none, or if it is not there yet. */
function pictureOf(moment) {
  const size = moments.picture[moment];
  const piece = size ? pieceAt(firstPicture[moment]) : undefined;
  if (!piece) return null;
  const start = firstPicture[moment] - piece.start;
  return `data:image/webp;base64,${piece.text.slice(start, start + size)}`;
}

/** Characters of the people's text up to each moment: four for each keypoint. */
const firstKeypoint = beginnings(
  Array.from({ length: VIDEOS }, (_, video) => {
    const people = firstId[firstMoment[video + 1]] - firstId[firstMoment[video]];
    return 4 * people * data.layouts[videos.layout[video]].keypoints;
  }),
);
let allPeople = null;

/** Who is in a moment of a video: {id, keypoints}, of each keypoint [x, y, score] in [0, 1]; see `packed` in moments.py.
 * Nobody until all of the file is there. */
function peopleOf(video, moment) {
  if (document.readyState === "loading") return [];
  allPeople ??= byId("people").textContent;
  const size = 4 * data.layouts[videos.layout[video]].keypoints;
  const people = [];
  for (let i = firstId[moment]; i < firstId[moment + 1]; i++) {
    const start = firstKeypoint[video] + (i - firstId[firstMoment[video]]) * size;
    people.push({ id: moments.ids[i], keypoints: unpacked(allPeople.slice(start, start + size)) });
  }
  return people;
}

/** Where the person of a row is, {x, y, at}: the mean of the keypoints as shares of the picture, at a time of the clip;
 * null if the row is of no person, or nothing left of the clip shows them. */
function whereIs(row) {
  const video = videoOf[row];
  const moment = momentNear(video, (startOf(row) + endOf(row)) / 2);
  if (moment === null) return null;
  const at = moments.time[moment] / 1000;
  const person = peopleOf(video, moment).find((each) => each.id === rows.person[row]);
  const seen = person?.keypoints.filter((keypoint) => keypoint[2] >= LEAST_KEYPOINT) ?? [];
  if (at < startOf(row) || at >= endOf(row) || !seen.length) return null;
  const mean = (axis) => seen.reduce((sum, keypoint) => sum + keypoint[axis], 0) / seen.length;
  return { x: mean(0).toFixed(3), y: mean(1).toFixed(3), at };
}

function unpacked(text) {
  const bytes = atob(text);
  const keypoints = [];
  for (let i = 0; i < bytes.length; i += 3) {
    const bits = (bytes.charCodeAt(i) << 16) | (bytes.charCodeAt(i + 1) << 8) | bytes.charCodeAt(i + 2);
    keypoints.push([(bits >> 14) / 1023, ((bits >> 4) & 1023) / 1023, (bits & 15) / 15]);
  }
  return keypoints;
}

/** Where a video is: as it was named, and as an address from this page. */
function pathOf(video) {
  return data.places[videos.place[video]][0] + (videos.file[video] ?? videos.name[video]);
}

function addressOf(video) {
  const rest = videos.file[video] ?? videos.name[video];
  const parts = rest.split(data.separator).map((part) => encodeURIComponent(part.toWellFormed?.() ?? part));
  return data.places[videos.place[video]][1] + parts.join("/");
}
