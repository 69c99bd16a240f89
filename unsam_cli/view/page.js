"use strict";
// What the page holds, what is open now, and small helpers.
// Text from the files reaches the page only through textContent, value and JSON.parse.

const $ = (id) => document.getElementById(id);
const names = JSON.parse($("names").textContent); // of the sets of masks, one for each file
const images = [...document.querySelectorAll("script[data-part=meta]")].map((block, index) => ({
  index, ...JSON.parse(block.textContent),
}));
const several = names.length > 1;
let current = null; // the opened image: the masks of each set, decoded, and its picture
let active = 0; // the set whose masks the keys and the panel are about

const make = (tag, text, className) => {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
};
const button = (text, action, className) => {
  const node = make("button", text, className);
  node.type = "button";
  node.addEventListener("click", action);
  return node;
};
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const rounded = (value) => String(Number(Number(value).toPrecision(3)));
const share = (area) => `${rounded((100 * area) / (current.width * current.height))} %`;
const counted = (n) => n.toLocaleString("en");
const plural = (n, noun) => `${counted(n)} ${noun}${n === 1 ? "" : "s"}`;
const facts = (list, pairs) => list.replaceChildren(...pairs.flatMap(([name, value]) => {
  const cell = make("dd");
  cell.append(value);
  return [make("dt", name), cell];
}));

/** The text of a part of an image: its list entry, thumbnail, picture or masks. */
const block = (part, index) => $(`${part}-${index}`).textContent;

/** Decode an image and its masks. */
async function decodeImage(meta) {
  const data = JSON.parse(block("masks", meta.index));
  let picture = null;
  if (meta.picture) {
    picture = new Image();
    picture.src = `data:image/jpeg;base64,${block("picture", meta.index)}`;
    await picture.decode().catch(() => { picture = null; });
  }
  const sets = data.sets.map((records) => {
    const masks = records.map((mask) => ({ ...mask, runs: decodeRuns(mask.rle), children: [] }));
    masks.forEach((mask, k) => { if (mask.parent >= 0) masks[mask.parent].children.push(k); });
    return masks;
  });
  return { ...meta, w: data.w, h: data.h, sets, picture };
}

/** The masks that contain a mask, from the smallest to the whole. */
function ancestors(masks, k) {
  const chain = [];
  for (let at = masks[k].parent; at >= 0; at = masks[at].parent) chain.push(at);
  return chain;
}

/** The mask of another set that shows the same object; -1 without one. */
function twinOf(from, k, to) {
  if (k < 0 || from === to) return k;
  const { object } = current.sets[from][k];
  return current.sets[to].findIndex((mask) => mask.object === object);
}
