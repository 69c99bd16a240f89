"use strict";
// Masks as PNG files, at the resolution of the embedded picture.

const canvasOf = (width, height) => Object.assign(make("canvas"), { width, height });

/** What a mask covers of the picture, on a transparent ground, cropped to the mask. */
function cutOut(mask) {
  const { x, y, w, h, bitmap } = shapeOf(mask);
  const canvas = canvasOf(w - 2, h - 2), context = canvas.getContext("2d"); // without its margin
  context.drawImage(bitmap, -1, -1);
  context.globalCompositeOperation = "source-in";
  context.drawImage(current.picture, -x - 1, -y - 1, current.w, current.h);
  return canvas;
}

/** The mask in white on black, as large as the picture. */
function maskPicture(mask) {
  const { x, y, bitmap } = shapeOf(mask);
  const canvas = canvasOf(current.w, current.h), context = canvas.getContext("2d");
  context.fillRect(0, 0, current.w, current.h);
  context.drawImage(bitmap, x, y);
  return canvas;
}

function save(canvas, mask, what) {
  const stem = current.name.split("/").pop().replace(/\.[^.]*$/, "") || "image";
  canvas.toBlob((blob) => {
    const link = make("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${stem}-${mask.id}-${what}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  });
}

/** The buttons that save a mask; none for an empty one. */
function exports(mask) {
  if (!shapeOf(mask)) return [];
  const row = make("div", undefined, "chips");
  if (current.picture) row.append(button("Cut-out (PNG)", () => save(cutOut(mask), mask, "cutout")));
  row.append(button("Mask (PNG)", () => save(maskPicture(mask), mask, "mask")));
  return [row];
}
