/** The controls of the filter. */

const filterbar = {
  build() {
    this.buildLabels();
    this.buildPeople();
    const later = debounced(() => filter.set({ text: byId("filter-text").value.trim() }));
    byId("filter-text").addEventListener("input", later);
    for (const id of ["filter-low", "filter-high"]) byId(id).addEventListener("change", () => this.takeScores());
    byId("filter-person").addEventListener("change", (event) =>
      filter.set({ person: numberOrNull(event.target.value) }),
    );
    byId("filter-people").addEventListener("change", (event) =>
      filter.set({ people: numberOrNull(event.target.value) }),
    );
    byId("filter").addEventListener("submit", (event) => event.preventDefault());
    byId("filter").addEventListener("reset", () => filter.set({ ...NO_FILTER, labels: new Set() }));
    document.addEventListener("pointerdown", (event) => byId("filter-labels").contains(event.target) || this.fold());
    byId("filter-labels").addEventListener("keydown", (event) => event.key === "Escape" && this.fold(true));
    filter.addEventListener("change", () => this.show());
  },

  buildLabels() {
    const codes = [...commonest, UNSURE, NOBODY].filter((which) => rowsWithCode[which]);
    const choices = codes.map((which) => {
      const box = h("input", { type: "checkbox", value: which, change: () => this.takeLabels() });
      return h(
        "label",
        { class: "choice" },
        box,
        labelChip(which),
        h("span", { class: "number" }, count(rowsWithCode[which])),
      );
    });
    byId("filter-labels-list").replaceChildren(...choices);
    this.boxes = [...byId("filter-labels-list").querySelectorAll("input")];
  },

  buildPeople() {
    const ids = [...new Set(rows.person)].filter((person) => person >= 0).sort((a, b) => a - b);
    byId("filter-person").append(...ids.map((id) => h("option", { value: id }, `person ${id}`)));
    byId("filter-person-box").hidden = !ids.length;
  },

  takeLabels() {
    filter.set({ labels: new Set(this.boxes.filter((box) => box.checked).map((box) => Number(box.value))) });
  },

  takeScores() {
    const [low, high] = ["filter-low", "filter-high"].map((id) => Math.min(Math.max(0, byId(id).valueAsNumber), 100));
    filter.set({ low: 10 * (low || 0), high: 10 * (Number.isNaN(high) ? 100 : high) });
  },

  /** Show what is asked for, whoever asked. */
  show() {
    const { labels, low, high } = filter.wanted;
    for (const box of this.boxes) box.checked = labels.has(Number(box.value));
    byId("filter-low").value = low / 10;
    byId("filter-high").value = high / 10;
    const names = [...labels].map(labelName);
    byId("filter-labels-chosen").textContent = names.length > 2 ? `${names.length} chosen` : names.join(", ") || "all";
    const part = (shown, all, noun) =>
      shown === all ? counted(all, noun) : `${count(shown)} of ${counted(all, noun)}`;
    byId("shown").textContent =
      `${part(filter.videos.length, VIDEOS, "video")}, ${part(filter.rows, ROWS, "clip label")}`;
  },

  fold(andFocus = false) {
    byId("filter-labels").open = false;
    if (andFocus) byId("filter-labels").querySelector("summary").focus();
  },
};

const numberOrNull = (text) => (text === "" ? null : Number(text));

/** The call, once nobody has asked for it for a moment. */
function debounced(call) {
  let waiting;
  return () => {
    clearTimeout(waiting);
    waiting = setTimeout(call, 120);
  };
}
