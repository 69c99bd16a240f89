"use strict";
// The panel on the right and the list of images on the left.

function describeImage() {
  $("image-name").textContent = current.name;
  const each = (count) => current.sets.map((masks) => counted(count(masks))).join(" | ");
  facts($("image-facts"), [
    ["Size", `${current.width} \u00d7 ${current.height} px`],
    ["Masks", each((masks) => masks.length)],
    ["Wholes", each((masks) => masks.filter((mask) => mask.parent < 0).length)],
    ["Depth", each((masks) => masks.reduce((most, mask) => Math.max(most, mask.depth), 0))],
    ["Image id", String(current.id)],
  ]);
  if (several) describeFiles();
}

/** How many masks each file has, and how many of them the first file has, too. */
function describeFiles() {
  const total = (key, s) => images.reduce((sum, meta) => sum + meta[key][s], 0);
  const row = (name, counts, shared) => {
    const line = make("tr"), head = make("th", name);
    head.scope = "row";
    line.append(head, make("td", counted(counts)), make("td", shared));
    return line;
  };
  const rows = (count, common) => names.map((name, s) =>
    row(name, count(s), s ? counted(common(s)) : "\u2013"));
  $("files").hidden = false;
  $("shared-head").textContent = `with ${names[0]}`;
  $("files-here").replaceChildren(...rows((s) => current.counts[s], (s) => current.shared[s]));
  $("files-all").replaceChildren(...rows((s) => total("counts", s), (s) => total("shared", s)));
  $("files-all-head").textContent = `all ${plural(images.length, "image")}`;
}

const chip = (k) => {
  const mask = current.sets[active][k];
  const node = button(String(mask.id), () => pin(active, k, true), "chip");
  const dot = make("span", "", "dot");
  dot.style.background = mask.color;
  node.prepend(dot);
  node.title = `Mask ${mask.id}, ${share(mask.area)}`;
  return node;
};

const chips = (title, keys) => {
  const most = 80, row = make("div", undefined, "chips");
  row.append(...keys.slice(0, most).map(chip));
  if (keys.length > most) row.append(make("span", `and ${keys.length - most} more`, "faint"));
  return [make("h3", title), row];
};

function describeMask() {
  const { pinned, hovered } = panes[active];
  const k = pinned >= 0 ? pinned : hovered;
  const panel = $("mask");
  if (k < 0) {
    panel.replaceChildren(make("p", "Point at the picture to see a mask, click to pin it.", "faint"));
    return;
  }
  const masks = current.sets[active], mask = masks[k];
  const head = make("p", undefined, "mask-head"), dot = make("span", "", "dot"), id = make("strong", `Mask ${mask.id}`);
  dot.style.background = mask.color;
  id.id = "mask-id";
  head.append(dot, id, make("span", pinned >= 0 ? "pinned" : "under the pointer", "tag"));
  const list = make("dl");
  const known = (name, value, text = rounded) => (value === undefined ? [] : [[name, text(value)]]);
  const also = names.filter((_, s) => several && s !== active && twinOf(active, k, s) >= 0);
  facts(list, [
    ...(several ? [["File", names[active]], ["Also in", also.join(", ") || "none"]] : []),
    ["Parent", mask.parent >= 0 ? String(masks[mask.parent].id) : "none, a whole"],
    ...known("Stage", mask.stage, String),
    ...known("Level", mask.level),
    ...known("Granularity", mask.granularity),
    ...known("Score", mask.score),
    ["Area", `${counted(mask.area)} px \u00b7 ${share(mask.area)}`],
    ["Box", mask.bbox.join(", ")],
    ["Depth", String(mask.depth)],
    ...known("Crowd", mask.crowd, () => "yes"),
    ...Object.entries(mask.extra ?? {}).map(([name, value]) => [name, String(value)]),
  ]);
  panel.replaceChildren(head, list);
  if (pinned >= 0) panel.append(...exports(mask));
  if (mask.children.length) panel.append(...chips(plural(mask.children.length, "part"), mask.children));
}

/** The way from the image to the whole, and down to the pinned mask. */
function showCrumbs() {
  const { pinned } = panes[active], masks = current.sets[active];
  const crumb = (content) => {
    const item = make("li");
    item.append(content);
    return item;
  };
  const image = current.name.split("/").pop();
  if (pinned < 0) {
    $("crumbs").replaceChildren(crumb(make("span", image)));
    return;
  }
  const here = make("span", `Mask ${masks[pinned].id}`);
  here.setAttribute("aria-current", "true");
  $("crumbs").replaceChildren(
    crumb(button(image, () => pin(active, -1), "chip")),
    ...ancestors(masks, pinned).reverse().map((k) => crumb(chip(k))),
    crumb(here),
  );
}

function listImages() {
  const loader = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      loader.unobserve(entry.target);
      const thumb = block("thumb", Number(entry.target.dataset.index));
      if (thumb) entry.target.src = `data:image/jpeg;base64,${thumb}`;
    }
  }, { root: $("images"), rootMargin: "400px" });
  $("images").replaceChildren(...images.map((meta) => {
    const item = button(undefined, (event) => {
      openImage(meta.index);
      if (event.detail) panes[active].marks.focus();
    }, "thumb");
    const thumb = make("img");
    thumb.alt = "";
    thumb.dataset.index = meta.index;
    thumb.width = meta.thumb[0];
    thumb.height = meta.thumb[1];
    const name = make("span", meta.name.split("/").pop(), "thumb-name");
    const count = several ? `${meta.counts.map(counted).join(" | ")} masks` : plural(meta.counts[0], "mask");
    item.title = meta.name;
    item.append(thumb, name, make("span", count, "faint"));
    loader.observe(thumb);
    return item;
  }));
  $("main").classList.toggle("single", images.length < 2);
}
