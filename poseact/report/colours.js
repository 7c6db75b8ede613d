/** A colour for each label: the same whatever is filtered, and mostly the same in another report. */

/** Hues far from each other, in an order in which neighbours differ, and no grey, which is for what is no
 * label; each can be told from white and from black. */
const PALETTE = [
  "#3f7fd9",
  "#d9691f",
  "#2b9a66",
  "#c2478d",
  "#8a6fd1",
  "#a78a00",
  "#1f97a8",
  "#cf4b4b",
  "#6b9a1f",
  "#5a6fe0",
  "#c07a3a",
  "#b057c9",
  "#00937f",
  "#d1558a",
  "#8f7fe8",
  "#9a6a4f",
  "#4f9ad6",
  "#b5790a",
  "#3c9e3c",
  "#9b5fb8",
  "#d0735a",
  "#5b8f8a",
  "#a3577a",
  "#7f8f3a",
];

function hash(text) {
  let sum = 2166136261;
  for (const letter of text) sum = Math.imul(sum ^ letter.codePointAt(0), 16777619);
  return sum >>> 0;
}

/** How many rows have each code. */
const rowsWithCode = new Uint32Array(CODES);
for (const each of code) rowsWithCode[each]++;

/** The codes of labels, the commonest first. */
const commonest = data.labels.map((_, label) => label).sort((a, b) => rowsWithCode[b] - rowsWithCode[a]);

/** The commonest labels take the colours that their names give them, others the next that is free. */
function chooseColours() {
  const chosen = new Array(UNSURE);
  const taken = new Set();
  for (const label of commonest) {
    let place = hash(data.labels[label]) % PALETTE.length;
    while (taken.has(place) && taken.size < PALETTE.length) place = (place + 1) % PALETTE.length;
    taken.add(place);
    chosen[label] = PALETTE[place];
  }
  return chosen;
}

const labelColours = chooseColours();

/** As CSS. */
const colourOf = (which) => labelColours[which] ?? "var(--unsure)";

/** Somebody's skeleton, by track id. */
const SKELETONS = ["#22e0ff", "#ffd23f", "#ff5fa8", "#7dff6a", "#ff9442", "#b79bff"];
const skeletonColour = (person) => SKELETONS[Math.abs(person) % SKELETONS.length];

/** A label with its colour. */
function labelChip(which, extra = "") {
  return h("span", { class: `label ${extra}`, "--colour": colourOf(which) }, labelName(which));
}
