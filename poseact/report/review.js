/** The least certain clips first, one after the other, to say whether they are right. */

/** Clips that stand in the list at a time. */
const QUEUE_LISTED = 100;
/** How many of the likeliest labels have a key. */
const QUICK_LABELS = 5;

const review = new (class {
  queue = [];
  place = 0;
  isStale = true;
  element = byId("review");

  constructor() {
    this.element.addEventListener("keydown", (event) => this.key(event));
    filter.addEventListener("change", () => this.renew());
  }

  /** Take up what the filter shows, at once if it is looked at. */
  renew() {
    this.isStale = true;
    if (!this.element.hidden) this.show();
  }

  show() {
    if (this.isStale) {
      const indices = Array.from({ length: ROWS }, (_, row) => row);
      this.queue = indices.filter((row) => rows.score[row] >= 0 && filter.shows(row));
      this.queue.sort((a, b) => rows.score[a] - rows.score[b] || a - b);
      this.place = 0;
      this.isStale = false;
    }
    this.draw();
  }

  get row() {
    return this.queue[this.place];
  }

  /** Keys act on the card from now on. */
  focus() {
    this.element.querySelector(".review-card")?.focus({ preventScroll: true });
  }

  turnTo(place) {
    this.place = Math.min(Math.max(0, place), this.queue.length - 1);
    this.draw();
  }

  /** The next one about which nothing is said yet; the next one at the end. */
  advance() {
    const open = this.queue.findIndex((row, i) => i > this.place && !corrections.of(row));
    this.turnTo(open < 0 ? this.place + 1 : open);
    this.focus();
  }

  say(label) {
    corrections.set(this.row, label);
    this.advance();
  }

  draw() {
    if (!this.queue.length) {
      this.element.replaceChildren(h("p", { class: "notice" }, "No clip that the filter shows has a score."));
      return;
    }
    const inside = this.element.contains(document.activeElement);
    this.element.replaceChildren(this.list(), this.card());
    const current = this.element.querySelector("[aria-current]");
    const list = current.closest(".queue");
    list.scrollTop = current.parentElement.offsetTop - list.offsetTop - list.clientHeight / 3;
    if (inside) this.focus();
  }

  list() {
    const first = Math.floor(this.place / QUEUE_LISTED) * QUEUE_LISTED;
    const items = this.queue.slice(first, first + QUEUE_LISTED).map((row, i) => {
      const own = corrections.of(row);
      const said = own
        ? h("span", { class: "done" }, `✓ ${own.label}`)
        : h("span", { class: "number" }, percent(rows.score[row]));
      const current = first + i === this.place;
      const name = h("small", {}, `${videos.name[videoOf[row]]}, ${spanOf(row)}`);
      // One stop for the tab key; the arrows do the rest.
      const button = h(
        "button",
        {
          type: "button",
          tabindex: current ? 0 : -1,
          "aria-current": current ? "true" : null,
          click: () => this.turnTo(first + i),
        },
        guessChip(row),
        said,
        name,
      );
      return h("li", {}, button);
    });
    return h("ol", { class: "queue", "aria-label": "The least certain clips first", start: first + 1 }, ...items);
  }

  /** Steps to both sides, and how far it is. */
  head() {
    const turn = (text, by) =>
      h(
        "button",
        {
          type: "button",
          disabled: this.queue[this.place + by] === undefined,
          click: () => this.turnTo(this.place + by),
        },
        text,
      );
    return h(
      "div",
      { class: "review-head" },
      turn("‹ Previous", -1),
      turn("Next ›", 1),
      h(
        "span",
        { class: "quiet place", role: "status" },
        `${count(this.place + 1)} of ${count(this.queue.length)}, ${count(corrections.known.size)} reviewed in all`,
      ),
    );
  }

  card() {
    const { row } = this;
    const video = videoOf[row];
    const moment = momentNear(video, (from[row] + to[row]) / 2);
    const play = h(
      "button",
      { type: "button", click: () => viewer.open(video, row, { time: startOf(row) }) },
      "▶ Play this clip",
    );
    const side = h(
      "div",
      { class: "side" },
      h("div", {}, h("strong", {}, videos.name[video]), saying(row), h("div", { class: "quiet" }, spanOf(row))),
      this.quick(row),
      editor(row, () => this.advance()),
      play,
      keysHint(),
    );
    return h(
      "div",
      { class: "card review-card", tabindex: -1 },
      this.head(),
      figure(video, moment, { person: rows.person[row], width: 3 }),
      side,
    );
  }

  /** The likeliest labels, each with its key. */
  quick(row) {
    const buttons = topOf(row)
      .slice(0, QUICK_LABELS)
      .map(([label, score], i) =>
        h(
          "button",
          { type: "button", click: () => this.say(data.labels[label]) },
          h("kbd", {}, String(i + 1)),
          labelChip(label),
          h("span", { class: "number" }, percent(score)),
        ),
      );
    return h(
      "div",
      { class: "quick", role: "group", "aria-label": "It shows one of the likeliest labels" },
      ...buttons,
    );
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select")) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key; // caps lock may be on
    const top = this.queue.length ? topOf(this.row)[Number(key) - 1] : undefined;
    const says = this.queue.length && code[this.row] < UNSURE ? labelName(code[this.row]) : null;
    const acts = {
      ArrowRight: () => this.turnTo(this.place + 1),
      ArrowLeft: () => this.turnTo(this.place - 1),
      n: () => this.turnTo(this.place + 1),
      p: () => this.turnTo(this.place - 1),
      y: () => says !== null && this.say(says),
      u: () => (corrections.remove(rowKey(this.row)), this.draw()),
      c: () => this.element.querySelector(".editor input").focus(),
    };
    const act = top && Number(key) <= QUICK_LABELS ? () => this.say(data.labels[top[0]]) : acts[key];
    if (!act || !this.queue.length) return;
    event.preventDefault();
    act();
  }
})();

/** A label with its colour; where the model is unsure, what it would have said. */
function guessChip(row) {
  const chip = labelChip(code[row]);
  const [first] = topOf(row);
  if (code[row] === UNSURE && first) chip.append(`, perhaps ${data.labels[first[0]]}`);
  return chip;
}

function keysHint() {
  const keys = [
    ["→", "next"],
    ["←", "previous"],
    ["1–5", "that label"],
    ["Y", "it is right"],
    ["C", "type another"],
    ["U", "undo"],
  ];
  return h("p", { class: "quiet keys" }, ...keys.flatMap(([key, text]) => [h("kbd", {}, key), ` ${text}  `]));
}
