"use strict";
// Masks: compressed COCO run lengths, decoded at the resolution of the embedded picture.
// A pixel's position is column-major, as in COCO: x * height + y.

/** Runs of the foreground as pairs [start, end), flat, from compressed COCO counts. */
function decodeRuns(counts) {
  const lengths = [];
  for (let p = 0; p < counts.length;) {
    let value = 0, shift = 0, more = true;
    while (more) {
      const code = counts.charCodeAt(p++) - 48;
      value |= (code & 0x1f) << shift;
      shift += 5;
      more = (code & 0x20) !== 0;
      if (!more && (code & 0x10)) value |= -1 << shift;
    }
    // From the fourth on, a length is stored as the difference to the one two places before.
    if (lengths.length > 2) value += lengths[lengths.length - 2];
    lengths.push(value);
  }
  const runs = [];
  let position = 0;
  lengths.forEach((length, k) => {
    if (k % 2 && length > 0) runs.push(position, position + length);
    position += length;
  });
  return Uint32Array.from(runs);
}

/** Whether the mask covers a position. */
function covers(runs, position) {
  let low = 0, high = runs.length / 2;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (runs[2 * middle + 1] <= position) low = middle + 1;
    else high = middle;
  }
  return 2 * low < runs.length && runs[2 * low] <= position;
}

/** Write a value into a column-major map wherever the mask is. */
function paint(map, runs, value) {
  for (let k = 0; k < runs.length; k += 2) map.fill(value, runs[k], runs[k + 1]);
}

/** The lines between pixels of different value, as one path in pixel units. */
function edges(map, width, height, left = 0, top = 0) {
  const path = new Path2D();
  for (let x = 1; x < width; x++) {
    const here = x * height, before = here - height;
    for (let y = 0; y < height;) {
      if (map[here + y] === map[before + y]) { y++; continue; }
      const start = y;
      while (y < height && map[here + y] !== map[before + y]) y++;
      path.moveTo(left + x, top + start);
      path.lineTo(left + x, top + y);
    }
  }
  for (let y = 1; y < height; y++) {
    for (let x = 0, at = y; x < width;) {
      if (map[at] === map[at - 1]) { x++; at += height; continue; }
      const start = x;
      while (x < width && map[at] !== map[at - 1]) { x++; at += height; }
      path.moveTo(left + start, top + y);
      path.lineTo(left + x, top + y);
    }
  }
  return path;
}

/** A bitmap from a column-major map: pixel value v becomes colours[v], 0xAABBGGRR. */
function tint(map, width, height, colours) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let x = 0, at = 0; x < width; x++) {
    for (let y = 0, to = x; y < height; y++, at++, to += width) pixels[to] = colours[map[at]];
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** One mask alone: its window, its outline and a white bitmap of it; null where it is empty. */
function silhouette(runs, height) {
  if (!runs.length) return null;
  let top = height, bottom = 0;
  const left = Math.floor(runs[0] / height);
  const right = Math.floor((runs[runs.length - 1] - 1) / height) + 1;
  for (let k = 0; k < runs.length; k += 2) {
    const first = Math.floor(runs[k] / height), last = Math.floor((runs[k + 1] - 1) / height);
    top = Math.min(top, first === last ? runs[k] % height : 0);
    bottom = Math.max(bottom, first === last ? (runs[k + 1] - 1) % height + 1 : height);
  }
  // A margin of one pixel, so that the outline closes at the window's own border.
  const w = right - left + 2, h = bottom - top + 2;
  const map = new Uint8Array(w * h);
  for (let k = 0; k < runs.length; k += 2) {
    for (let start = runs[k]; start < runs[k + 1];) {
      const x = Math.floor(start / height);
      const end = Math.min(runs[k + 1], (x + 1) * height);
      const shift = (x - left + 1) * h - x * height - top + 1;
      map.fill(1, start + shift, end + shift);
      start = end;
    }
  }
  const x = left - 1, y = top - 1;
  return { x, y, w, h, path: edges(map, w, h, x, y), bitmap: tint(map, w, h, [0, 0xffffffff]) };
}
