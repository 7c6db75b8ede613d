/** Where the reader says what a row shows: the same in the viewer and in the review. */

/** onDone(): something was said. */
function editor(row, onDone) {
  const own = corrections.of(row);
  const says = labelName(code[row]);
  const input = h("input", {
    list: "known-labels",
    autocomplete: "off",
    spellcheck: "false",
    value: own && own.label !== says ? own.label : "",
  });
  const say = (label) => {
    corrections.set(row, label);
    onDone();
  };
  const submit = (event) => {
    event.preventDefault();
    const label = input.value.trim();
    if (label) say(label);
    else input.focus();
  };
  const confirm = h(
    "button",
    { type: "button", class: "confirm", disabled: code[row] >= UNSURE, click: () => say(says) },
    "The label is right",
  );
  const undo = h(
    "button",
    { type: "button", class: "undo", disabled: !own, click: () => (corrections.remove(rowKey(row)), onDone()) },
    "Undo",
  );
  return h(
    "form",
    { class: "editor", submit },
    h("label", {}, "It shows", input),
    h("div", { class: "buttons" }, h("button", { type: "submit", class: "main" }, "Save"), confirm, undo),
    h("p", { class: `verdict ${own ? "set" : ""}`, role: "status" }, verdict(own, says)),
  );
}

function verdict(own, says) {
  if (!own) return "";
  return own.label === says ? `✓ You say that ${says} is right.` : `✓ You say: ${own.label}.`;
}

/** The labels to choose from when one is typed: the model's, commonest first, and the reader's own. */
function showKnownLabels() {
  const known = [...commonest.map(labelName), ...corrections.ownLabels];
  byId("known-labels").replaceChildren(...known.map((label) => h("option", { value: label })));
}
