"use strict";
// The list of the masks that are shown.

const MOST_ROWS = 200;
let everyRow = false;

const sorts = {
  area: { name: "Area", of: (mask) => mask.area, text: (mask) => share(mask.area) },
  score: { name: "Score", of: (mask) => mask.score },
  level: { name: "Merge level", of: (mask) => mask.level },
  granularity: { name: "Granularity", of: (mask) => mask.granularity },
};

/** Offer the orders that the masks have values for. */
function offerSorts() {
  const before = $("sort").value;
  const usable = Object.keys(sorts).filter((name) =>
    allMasks().some((mask) => sorts[name].of(mask) !== undefined));
  $("sort").replaceChildren(...usable.map((name) => {
    const option = make("option", sorts[name].name);
    option.value = name;
    return option;
  }));
  if (usable.includes(before)) $("sort").value = before;
  everyRow = false;
}

let waiting = 0; // the timer of the next list; 0 where the list is current
/** Update the list of masks once the slider rests. */
function relist() {
  clearTimeout(waiting);
  waiting = setTimeout(listMasks, 60);
}

function listMasks() {
  clearTimeout(waiting);
  waiting = 0;
  const masks = current.sets[active], { shown } = panes[active].cut;
  const { of, text = (mask) => (of(mask) === undefined ? "" : rounded(of(mask))) } = sorts[$("sort").value] ?? sorts.area;
  const keys = [...masks.keys()].filter((k) => shown[k]);
  const place = (k) => of(masks[k]) ?? -Infinity;
  keys.sort((a, b) => place(b) - place(a) || a - b);
  const rows = (everyRow ? keys : keys.slice(0, MOST_ROWS)).map((k) => {
    const item = make("li"), row = button(undefined, () => pin(active, k), "row");
    const dot = make("span", "", "dot");
    dot.style.background = masks[k].color;
    row.dataset.mask = k;
    row.append(dot, make("span", `Mask ${masks[k].id}`), make("span", text(masks[k]), "faint"));
    row.addEventListener("pointerenter", () => point(active, k));
    row.addEventListener("pointerleave", () => point(active, -1));
    item.append(row);
    return item;
  });
  $("masks").replaceChildren(...rows);
  $("masks-count").textContent = `${plural(keys.length, "mask")} shown${several ? ` of ${names[active]}` : ""}`;
  $("masks-more").hidden = rows.length === keys.length;
  $("masks-more").textContent = `List all ${counted(keys.length)}`;
  markRow();
}

/** Mark the row of the pinned mask, and bring it into sight within the list. */
function markRow() {
  const list = $("masks"), { pinned } = panes[active];
  for (const row of list.querySelectorAll("[aria-current]")) row.removeAttribute("aria-current");
  const row = list.querySelector(`[data-mask="${pinned}"]`);
  if (!row) return;
  row.setAttribute("aria-current", "true");
  const above = row.offsetTop - list.offsetTop, below = above + row.offsetHeight;
  if (above < list.scrollTop) list.scrollTop = above;
  else if (below > list.scrollTop + list.clientHeight) list.scrollTop = below - list.clientHeight;
}
