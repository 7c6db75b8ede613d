/** A video's rows over time, a lane for each person: coloured, looked into by pointer and by keys. */

/** Lanes in the table; the viewer shows all. */
const LANES_IN_TABLE = 3;
/** From so many rows on, a lane joins neighbours that look alike. */
const MANY_ROWS = 300;

/** tall: with names, an axis and a border between clips. onPick(row, time): somebody wants to see that. onCorrect(row):
 * or to correct it. onMark(row): it is looked at. */
class Timeline {
  constructor(video, { tall = false, onPick, onCorrect, onMark = () => {} }) {
    Object.assign(this, { video, tall, onPick, onCorrect, onMark });
    const lanes = lanesOf(video);
    this.lanes = tall ? lanes : lanes.slice(0, LANES_IN_TABLE);
    this.hidden = lanes.length - this.lanes.length;
    this.row = null;
    this.element = this.build();
  }

  build() {
    this.laneElements = this.lanes.map((lane) => h("div", { class: "lane" }, ...this.segments(lane)));
    this.lanesElement = h("div", { class: "lanes" }, ...this.laneElements);
    const element = h(
      "div",
      {
        class: `timeline ${this.tall ? "tall" : `lanes-${this.lanes.length}`}`,
        role: "slider",
        tabindex: 0,
        "aria-label": `Timeline of ${videos.name[this.video]}`,
        "aria-valuemin": 0,
        "aria-valuemax": Math.max(0, (this.lanes[0]?.rows.length ?? 0) - 1),
        "aria-valuenow": 0,
        "aria-valuetext": this.lanes.length ? "Arrow keys go from clip to clip" : "No clips",
        focus: () => this.focus(),
        blur: () => this.leave(),
        keydown: (event) => this.key(event),
        pointermove: (event) => this.hover(event),
        pointerleave: () => hidePeek(),
        click: (event) => this.click(event),
      },
      this.lanesElement,
    );
    if (this.hidden)
      element.append(
        h("span", { class: "more" }, `and ${counted(this.hidden, "more person").replace("persons", "people")}`),
      );
    return element;
  }

  /** The names of the lanes and the axis stand beside what has the focus, so that a screen reader is not told them. */
  get frame() {
    const names = this.lanes.map((lane) => h("span", {}, `person ${lane.person}`));
    const many = this.lanes.some((lane) => lane.person >= 0);
    const axis = h("div", { class: "axis", "aria-hidden": "true" }, ...ticks(lengthOf[this.video]));
    if (!many) return h("div", { class: "tall" }, this.element, axis);
    return h(
      "div",
      { class: "tall many" },
      h("div", { class: "lane-names", "aria-hidden": "true" }, ...names),
      this.element,
      axis,
    );
  }

  segments(lane) {
    const length = lengthOf[this.video] || 1;
    return runs(lane.rows, !this.tall || lane.rows.length > MANY_ROWS).map(({ first, last, dim, corrected }) => {
      const kind = code[first] === UNSURE ? " unsure" : code[first] === NOBODY ? " nobody" : "";
      return h("span", {
        class: `seg${kind}${dim ? " dim" : ""}${corrected ? " corrected" : ""}`,
        style: `left: ${(100 * from[first]) / length}%; width: ${(100 * (to[last] - from[first])) / length}%`,
        "--colour": colourOf(code[first]),
      });
    });
  }

  /** Draw again what a filter or a correction changes. */
  refresh() {
    this.lanes.forEach((lane, i) => this.laneElements[i].replaceChildren(...this.segments(lane)));
    if (this.row !== null) this.mark(this.row);
  }

  /** Point at a row. */
  mark(row) {
    this.row = row;
    const which = this.lanes.findIndex((lane) => lane.rows.includes(row));
    if (which < 0) return;
    const length = lengthOf[this.video] || 1;
    this.cursor ??= h("span", { class: "cursor" });
    this.cursor.style.left = `${(100 * from[row]) / length}%`;
    this.cursor.style.width = `${(100 * (to[row] - from[row])) / length}%`;
    this.laneElements[which].append(this.cursor);
    const place = this.lanes[which].rows.indexOf(row);
    this.element.setAttribute("aria-valuemax", this.lanes[which].rows.length - 1);
    this.element.setAttribute("aria-valuenow", place);
    this.element.setAttribute("aria-valuetext", `${spanOf(row)}: ${labelName(code[row])}, ${percent(rows.score[row])}`);
  }

  /** Draw a line at a time, in seconds. */
  playhead(time) {
    this.line ??= this.lanesElement.appendChild(h("span", { class: "playhead" }));
    this.line.style.left = `${Math.min(100, (100 * time) / (lengthOf[this.video] || 1))}%`;
  }

  focus() {
    if (!this.lanes.length || !this.element.matches(":focus-visible")) return;
    const row = this.row ?? this.lanes[0].rows[0];
    if (this.tall) this.mark(row);
    else this.look(row);
  }

  leave() {
    hidePeek();
    if (!this.tall) this.cursor?.remove();
  }

  look(row) {
    this.mark(row);
    this.onMark(row);
    if (this.tall) return; // the viewer's stage shows it
    const box = this.cursor.getBoundingClientRect();
    showPeek(this.video, row, (from[row] + to[row]) / 2, box.left + box.width / 2, box.top);
  }

  key(event) {
    const move = {
      ArrowLeft: [-1, 0],
      ArrowRight: [1, 0],
      ArrowUp: [0, -1],
      ArrowDown: [0, 1],
      Home: [-Infinity, 0],
      End: [Infinity, 0],
    }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey || !this.lanes.length) return;
    const row = this.row ?? this.lanes[0].rows[0];
    if (move) this.look(this.neighbour(row, ...move));
    else if (event.key === "Enter" || event.key === " ") this.onPick(row, startOf(row));
    else if (event.key.toLowerCase() === "c") this.onCorrect(row);
    else if (event.key === "Escape" && !peek.hidden) hidePeek();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  neighbour(row, clips, lanes) {
    const which = Math.max(
      0,
      this.lanes.findIndex((lane) => lane.rows.includes(row)),
    );
    const lane = this.lanes[Math.min(Math.max(0, which + lanes), this.lanes.length - 1)];
    if (lanes) return rowAt(lane.rows, (from[row] + to[row]) / 2);
    return lane.rows[Math.min(Math.max(0, lane.rows.indexOf(row) + clips), lane.rows.length - 1)];
  }

  /** The row and the time under the pointer. */
  under(event) {
    const box = this.lanesElement.getBoundingClientRect();
    const time = Math.min(Math.max(0, (event.clientX - box.left) / box.width), 1) * lengthOf[this.video];
    const distance = (element) => {
      const { top, bottom } = element.getBoundingClientRect();
      return Math.abs((top + bottom) / 2 - event.clientY);
    };
    const nearest = this.laneElements.reduce(
      (best, each, i, all) => (distance(each) < distance(all[best]) ? i : best),
      0,
    );
    return { row: rowAt(this.lanes[nearest].rows, time), time };
  }

  hover(event) {
    if (!this.lanes.length || event.pointerType === "touch") return;
    const { row, time } = this.under(event);
    showPeek(this.video, row, time, event.clientX, this.lanesElement.getBoundingClientRect().top);
  }

  click(event) {
    if (!this.lanes.length) return;
    const { row, time } = this.under(event);
    hidePeek();
    this.onPick(row, time);
  }
}

/** The row of a lane at a time, or the nearest. */
function rowAt(lane, time) {
  const away = (row) => Math.max(from[row] - time, time - to[row], 0);
  return lane.reduce((best, row) => (away(row) < away(best) ? row : best), lane[0]);
}

/** Rows as spans that look alike: each its own, or joined with its neighbours. */
function runs(lane, join) {
  const found = [];
  for (const row of lane) {
    const look = { dim: !filter.shows(row), corrected: corrections.of(row) !== undefined };
    const before = found.at(-1);
    const alike =
      before && code[before.last] === code[row] && before.dim === look.dim && before.corrected === look.corrected;
    if (join && alike && from[row] - to[before.last] < 1e-3) before.last = row;
    else found.push({ first: row, last: row, ...look });
  }
  return found;
}

/** Five times along an axis. */
function ticks(length) {
  return [0, 0.25, 0.5, 0.75, 1].map((part) => h("span", { style: `left: ${100 * part}%` }, clock(part * length)));
}
