/** The table of videos, a page of it at a time, so that 50,000 are no burden. */

const PAGE_SIZE = 50;
/** Shares that stand in a row; a longer list would be no summary. */
const SHARES_LISTED = 3;

/** Columns to sort by: what they are called and what they compare. `most`: the largest first. */
const byName = new Intl.Collator("en", { numeric: true });
const SORTS = {
  name: { text: "Name", compare: (a, b) => byName.compare(videos.name[a], videos.name[b]) },
  seconds: { text: "Length", compare: (a, b) => lengthOf[a] - lengthOf[b], most: true },
  label: { text: "Labels", compare: (a, b) => byName.compare(labelName(mainCode[a]), labelName(mainCode[b])) },
  score: { text: "Least score", compare: (a, b) => scoreOrder(a) - scoreOrder(b) },
  people: { text: "People", compare: (a, b) => mostPeople[a] - mostPeople[b], most: true },
};

/** A video without any score is not the least certain one. */
const scoreOrder = (video) => (leastScore[video] < 0 ? 1001 : leastScore[video]);

const table = new (class {
  key = null;
  falling = false;
  page = 0;
  order = [];
  timelines = [];

  buildHead() {
    for (const head of document.querySelectorAll("th[data-sort]")) {
      const key = head.dataset.sort;
      head.append(h("button", { type: "button", click: () => this.sortBy(key) }, SORTS[key].text));
    }
  }

  /** By a column; the other way round if it is by that one already. */
  sortBy(key) {
    this.falling = this.key === key ? !this.falling : Boolean(SORTS[key].most);
    this.key = key;
    for (const head of document.querySelectorAll("th[data-sort]")) {
      if (head.dataset.sort === key) head.setAttribute("aria-sort", this.falling ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    this.arrange();
  }

  /** Take up what the filter shows. */
  arrange() {
    this.order = [...filter.videos];
    if (this.key) {
      const { compare } = SORTS[this.key];
      this.order.sort(this.falling ? (a, b) => compare(b, a) : compare);
    }
    this.turnTo(0);
  }

  get pages() {
    return Math.max(1, Math.ceil(this.order.length / PAGE_SIZE));
  }

  turnTo(page) {
    this.page = Math.min(Math.max(0, page), this.pages - 1);
    this.draw();
    this.drawPager();
  }

  draw() {
    const first = this.page * PAGE_SIZE;
    this.timelines = [];
    const lines = this.order.slice(first, first + PAGE_SIZE).map((video) => this.line(video));
    const nothing = h(
      "tr",
      {},
      h("td", { colspan: 7, class: "empty" }, VIDEOS ? "No video has a clip like that." : "No video is done yet."),
    );
    byId("rows").replaceChildren(...(lines.length ? lines : [nothing]));
  }

  line(video) {
    const timeline = new Timeline(video, {
      onPick: (row, time) => viewer.open(video, row, { time }),
      onCorrect: (row) => viewer.open(video, row, { edit: true }),
    });
    this.timelines.push(timeline);
    const open = h(
      "button",
      { type: "button", class: "link", click: () => viewer.open(video) },
      ...breakable(videos.name[video]),
    );
    const named = (name, text) => h("td", { class: "number named", "data-name": name }, text);
    return h(
      "tr",
      {},
      h("td", { class: "picture" }, this.cover(video)),
      h("th", { scope: "row", class: "name" }, open),
      named("", duration(lengthOf[video])),
      h("td", { class: "labels" }, labelChip(mainCode[video], "main"), shareList(video)),
      h("td", { class: "wide" }, timeline.element),
      named("least score", percent(leastScore[video])),
      named("people", count(mostPeople[video])),
    );
  }

  cover(video) {
    return figure(video, momentNear(video, videos.seconds[video] / 2), { width: 1.5 });
  }

  /** Pictures and people come after the table. */
  fillPictures() {
    const covers = document.querySelectorAll("#rows .picture");
    this.timelines.forEach(({ video }, i) => covers[i].replaceChildren(this.cover(video)));
  }

  drawPager() {
    const turn = (text, page) =>
      h(
        "button",
        { type: "button", disabled: page < 0 || page >= this.pages, click: () => this.turnAndShow(page) },
        text,
      );
    const first = this.page * PAGE_SIZE;
    const span = `${count(first + 1)}–${count(Math.min(first + PAGE_SIZE, this.order.length))} of ${count(this.order.length)}`;
    byId("pager").replaceChildren(turn("‹ Back", this.page - 1), h("span", {}, span), turn("Next ›", this.page + 1));
    byId("pager").hidden = this.pages === 1;
  }

  turnAndShow(page) {
    const ahead = page > this.page;
    this.turnTo(page);
    byId("videos").scrollIntoView({ block: "start" });
    const [back, next] = byId("pager").querySelectorAll("button");
    (ahead && !next.disabled ? next : back).focus({ preventScroll: true });
  }
})();

function shareList(video) {
  const shares = sharesOf(video);
  const said = shares.slice(0, SHARES_LISTED).map(([which, share]) => `${labelName(which)} ${percent(1000 * share)}`);
  const left = shares.length - said.length;
  return h("span", { class: "shares" }, said.join(", ") + (left > 0 ? `, ${left} more` : ""));
}
