/** One video, large: its picture or the video itself, its lanes, and the clip that is looked at. */

const viewer = new (class {
  dialog = byId("viewer");
  video = null;
  row = null;
  player = null;

  constructor() {
    // The event comes a moment later, when it may be open again.
    this.dialog.addEventListener("close", () => this.dialog.open || this.leave());
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
  }

  /** time: play from there; null: show the picture. edit: type a label at once. */
  open(video, row, { time = null, edit = false } = {}) {
    this.video = video;
    this.build();
    this.look(row ?? (videos.rows[video] ? lanesOf(video)[0].rows[0] : null));
    if (!this.dialog.open) {
      this.opener = document.activeElement;
      this.dialog.showModal();
    }
    if (time !== null) this.play(time);
    if (edit) this.side.querySelector("input")?.focus();
    else if (this.timeline.lanes.length) this.timeline.element.focus();
  }

  leave() {
    this.stop();
    document.body.append(peek);
    hidePeek();
    this.dialog.replaceChildren();
    this.opener?.isConnected && this.opener.focus();
  }

  build() {
    this.stop();
    const step = (by) =>
      h(
        "button",
        { type: "button", disabled: this.beside(by) === undefined, click: () => this.open(this.beside(by)) },
        by < 0 ? "‹ Previous" : "Next ›",
      );
    this.timeline = new Timeline(this.video, {
      tall: true,
      onPick: (row, time) => (this.look(row), this.play(time)),
      onCorrect: (row) => (this.look(row), this.side.querySelector("input").focus()),
      onMark: (row) => (this.look(row), this.player && this.play(startOf(row))),
    });
    this.stage = h("div", { class: "stage" });
    this.side = h("div", { class: "side" });
    const close = h("button", { type: "button", "aria-label": "Close", click: () => this.dialog.close() }, "✕");
    const head = h(
      "div",
      { class: "viewer-head" },
      h("h2", { id: "viewer-title" }, videos.name[this.video]),
      step(-1),
      step(1),
      close,
    );
    this.dialog.replaceChildren(
      head,
      h(
        "div",
        { class: "viewer-body" },
        this.stage,
        this.side,
        h("div", { class: "viewer-lanes" }, this.timeline.frame),
      ),
    );
  }

  /** The video before or after this one in the table. */
  beside(by) {
    const place = table.order.indexOf(this.video);
    return place < 0 ? undefined : table.order[place + by];
  }

  /** Turn to a row; a video that plays goes on. */
  look(row) {
    this.row = row;
    if (row === null) this.side.replaceChildren(h("p", { class: "quiet" }, "This video has no clips."));
    else this.showRow(row);
    if (!this.player) this.showPicture();
  }

  showRow(row) {
    this.timeline.mark(row);
    const done = () => (this.timeline.refresh(), this.showRow(row), this.timeline.element.focus());
    this.side.replaceChildren(
      h(
        "div",
        {},
        saying(row),
        h(
          "div",
          { class: "quiet" },
          `${spanOf(row)}, ${counted(rows.persons[row], "person").replace("persons", "people")} in the clip`,
        ),
      ),
      topBars(row),
      editor(row, done),
    );
  }

  showPicture() {
    const time = this.row === null ? lengthOf[this.video] / 2 : (from[this.row] + to[this.row]) / 2;
    const start = this.row === null ? 0 : startOf(this.row);
    const picture = figure(this.video, momentNear(this.video, time), {
      person: this.row === null ? -1 : rows.person[this.row],
      width: 3,
    });
    const play = h(
      "button",
      { type: "button", class: "play", click: () => this.play(start) },
      `▶ Play from ${clock(start)}`,
    );
    this.stage.replaceChildren(picture, play);
    this.timeline.playhead(time);
  }

  play(time) {
    if (this.player) {
      this.player.currentTime = time;
      this.player.play();
      return;
    }
    const player = h("video", {
      src: `${addressOf(this.video)}#t=${time.toFixed(2)}`,
      controls: true,
      playsinline: true,
      preload: "auto",
      "aria-label": videos.name[this.video],
    });
    this.player = player;
    player.addEventListener("error", () => this.player === player && this.refuse());
    // A video whose pictures the browser cannot decode may still have sound.
    player.addEventListener("loadedmetadata", () => this.player === player && !player.videoWidth && this.refuse());
    player.addEventListener("timeupdate", () => this.player === player && this.follow(player.currentTime));
    const back = h(
      "button",
      { type: "button", click: () => (this.stop(), this.showPicture()) },
      "Show the picture with skeletons",
    );
    this.stage.replaceChildren(player, back);
    // A browser may want another click first; the controls are there for that, and an error has its own event.
    player.play().catch(() => undefined);
  }

  follow(time) {
    this.timeline.playhead(time);
    if (this.row === null || this.side.contains(document.activeElement)) return;
    const lane = this.timeline.lanes.find((each) => each.rows.includes(this.row));
    const row = rowAt(lane.rows, time);
    if (row !== this.row) this.look(row);
  }

  stop() {
    const player = this.player;
    this.player = null;
    if (!player) return;
    player.pause();
    player.removeAttribute("src");
    player.load();
  }

  refuse() {
    this.stop();
    this.showPicture();
    const path = pathOf(this.video);
    const text = h("input", { readonly: true, value: path, "aria-label": "Path of the video" });
    const said = h(
      "p",
      { role: "alert" },
      "This browser cannot play the video, or it is no longer at its place; open it from here:",
    );
    const copy = h("button", { type: "button", click: (event) => copyText(text, event.target) }, "Copy");
    this.stage.querySelector(".play").replaceWith(said, h("div", { class: "copy" }, text, copy));
  }
})();

async function copyText(input, button) {
  input.select();
  try {
    await navigator.clipboard.writeText(input.value);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Press Ctrl+C"; // it is selected
  }
}
