"use strict";
// The report: images on the left, the picture and its masks in the middle, facts on the right.
// Text from the files reaches the page only through textContent, value and JSON.parse.

(() => {
  const $ = (id) => document.getElementById(id);
  const images = [...document.querySelectorAll("script[data-part=meta]")].map((block, index) => ({
    index, ...JSON.parse(block.textContent),
  }));
  const scene = $("scene"), marks = $("marks"), stage = $("stage"), level = $("level");
  const view = { scale: 1, x: 0, y: 0, fitted: true };
  let current = null; // the opened image: its masks, decoded, and its picture
  let cut = null; // what the slider shows: one mask a pixel
  let hovered = -1, pinned = -1, picked = -1;
  const FEW = 60; // masks that one picture shows at first
  let mode = null; // the order that the user chose
  let moved = false; // whether the user has moved the slider
  let pointer = null, drag = null, ticket = 0;

  // ---------------------------------------------------------------- small helpers

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
  const plural = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
  const facts = (list, pairs) => list.replaceChildren(...pairs.flatMap(([name, value]) => {
    const cell = make("dd");
    cell.append(value);
    return [make("dt", name), cell];
  }));

  // ---------------------------------------------------------------- opening an image

  const block = (part, index) => $(`${part}-${index}`).textContent;

  async function open(index, maskId) {
    const mine = ++ticket;
    const meta = images[index];
    const data = JSON.parse(block("masks", index));
    let picture = null;
    if (meta.picture) {
      picture = new Image();
      picture.src = `data:image/jpeg;base64,${block("picture", index)}`;
      await picture.decode().catch(() => { picture = null; });
      if (mine !== ticket) return; // another image was asked for meanwhile
    }
    const masks = data.masks.map((mask) => ({ ...mask, runs: decodeRuns(mask.rle), children: [] }));
    masks.forEach((mask, k) => { if (mask.parent >= 0) masks[mask.parent].children.push(k); });
    current = { ...meta, w: data.w, h: data.h, masks, picture };
    hovered = pinned = picked = -1;
    $("message").textContent = picture ? "" : meta.problem;
    $("message").hidden = Boolean(picture);
    for (const item of $("images").children) item.removeAttribute("aria-current");
    const item = $("images").children[index];
    item.setAttribute("aria-current", "true");
    item.scrollIntoView({ block: "nearest", inline: "nearest" });
    $("position").textContent = `${index + 1} / ${images.length}`;
    $("previous").disabled = index === 0;
    $("next").disabled = index === images.length - 1;
    describeImage();
    describeMask();
    offerModes();
    offerScores();
    fit();
    recut();
    if (maskId !== undefined) pin(indexOf(maskId), true);
    remember();
  }

  // Ids are compared as text: beyond 53 bits they are stored as text.
  const indexOf = (id) => current.masks.findIndex((mask) => String(mask.id) === id);

  const step = (by) => {
    const index = clamp(current.index + by, 0, images.length - 1);
    if (index !== current.index) open(index);
  };

  function remember() {
    const mask = pinned >= 0 ? `&mask=${current.masks[pinned].id}` : "";
    try { history.replaceState(null, "", `#image=${current.index + 1}${mask}`); } catch { /* sandboxed */ }
  }

  function fromAddress() {
    const wanted = new URLSearchParams(location.hash.slice(1));
    const first = 1 + Math.max(0, images.findIndex((meta) => meta.count));
    const index = clamp((Number(wanted.get("image")) || first) - 1, 0, images.length - 1);
    return open(Math.floor(index), wanted.get("mask") ?? undefined);
  }

  // ---------------------------------------------------------------- the hierarchy's cut

  // Each order gives a mask its place between coarse and fine; what has none is always shown.
  const orders = {
    depth: { name: "Depth", key: (mask) => mask.depth, text: (stop) => `depth ${stop}` },
    granularity: {
      name: "Granularity",
      key: (mask) => (mask.granularity === undefined ? -Infinity : -mask.granularity),
      text: (stop) => `granularity from ${rounded(-stop)}`,
    },
    level: {
      name: "Merge level",
      key: (mask) => (mask.level === undefined ? -Infinity : mask.level),
      text: (stop) => `level up to ${rounded(stop)}`,
    },
  };

  function stopsOf(name) {
    const keys = current.masks.map(orders[name].key).filter(Number.isFinite);
    if (name !== "granularity") return [...new Set(keys)].sort((a, b) => a - b);
    return keys.length ? Array.from({ length: 19 }, (_, k) => -(20 - k) / 20) : [];
  }

  const graded = (mask) => typeof mask.prompt?.granularity === "number";

  function offerModes() {
    const usable = Object.keys(orders).filter((name) => stopsOf(name).length > 1);
    if (!usable.length) usable.push("depth");
    const fine = current.masks.length > FEW || current.masks.some(graded);
    const wanted = [mode, fine ? "granularity" : null, usable[0]];
    const chosen = wanted.find((name) => usable.includes(name));
    $("mode").replaceChildren(...usable.map((name) => {
      const option = make("option", orders[name].name);
      option.value = name;
      return option;
    }));
    $("mode").value = chosen;
    $("mode").disabled = usable.length < 2;
    offerStops();
  }

  function offerStops() {
    const finest = level.value === level.max;
    current.stops = stopsOf($("mode").value);
    level.max = String(Math.max(0, current.stops.length - 1));
    if (!moved) level.value = String(openingStop());
    else if (finest) level.value = level.max;
    level.disabled = current.stops.length < 2;
  }

  /** The finest stop at which a picture shows few masks: a thousand of them are a carpet. */
  function openingStop() {
    const { key } = orders[$("mode").value];
    const counts = current.stops.map(
      (stop) => current.masks.filter((mask) => key(mask) <= stop + 1e-9).length);
    return Math.max(0, counts.filter((count) => count <= FEW).length - 1);
  }

  function offerScores() {
    const scores = current.masks.map((mask) => mask.score).filter((score) => score !== undefined);
    const low = Math.min(...scores), high = Math.max(...scores);
    $("score-control").hidden = !(scores.length > 1 && low < high && low >= 0 && high <= 1);
  }

  /** Of one question's answers, asked for at several granularities, show the finest alone. */
  function keepOneAnswer(masks, shown) {
    const finest = new Map();
    masks.forEach((mask, k) => {
      if (!shown[k] || !graded(mask)) return;
      const question = JSON.stringify([mask.prompt.points, mask.prompt.box]);
      const before = finest.get(question) ?? k;
      const finer = mask.prompt.granularity <= masks[before].prompt.granularity;
      const [kept, dropped] = finer ? [k, before] : [before, k];
      shown[dropped] = false;
      shown[kept] = true;
      finest.set(question, kept);
    });
  }

  const scoreFloor = () => ($("score-control").hidden ? 0 : Number($("score").value) / 100);

  function recut() {
    const { masks, w, h, stops } = current;
    const order = orders[$("mode").value];
    const stop = stops.length ? stops[Number(level.value)] : Infinity;
    const floor = scoreFloor();
    const shown = masks.map((mask) =>
      order.key(mask) <= stop + 1e-9 && (mask.score === undefined || mask.score >= floor));
    if (order === orders.granularity) keepOneAnswer(masks, shown);
    const map = new Int32Array(w * h);
    masks.forEach((mask, k) => { if (shown[k]) paint(map, mask.runs, k + 1); });
    // What a whole keeps beside its shown parts is tinted fainter, so that the parts stand out.
    const whole = masks.map((mask) => mask.children.some((k) => shown[k]));
    const colours = Uint32Array.from([0, ...masks.map((mask, k) => {
      const rgb = parseInt(mask.color.slice(1), 16);
      const bgr = ((rgb & 0xff) << 16) | (rgb & 0xff00) | (rgb >> 16);
      return (((whole[k] ? 0x66 : 0xff) << 24) | bgr) >>> 0;
    })]);
    cut = { map, shown, fill: tint(map, w, h, colours), borders: edges(map, w, h) };
    const count = shown.filter(Boolean).length;
    level.setAttribute("aria-valuetext", stops.length ? order.text(stop) : "");
    $("level-text").textContent =
      `${stops.length ? `${order.text(stop)} \u00b7 ` : ""}${count} of ${plural(masks.length, "mask")}`;
    $("score-text").textContent = rounded(floor);
    marks.setAttribute("aria-label", `${current.name}: ${count} of ${plural(masks.length, "mask")} shown`);
    draw();
  }

  function setLevel(value) {
    moved = true;
    level.value = String(clamp(value, 0, Number(level.max)));
    recut();
  }

  // ---------------------------------------------------------------- drawing

  let pending = false;
  function draw() {
    if (pending) return;
    pending = true;
    requestAnimationFrame(() => {
      pending = false;
      if (current) { drawScene(); drawMarks(); }
    });
  }

  function prepare(canvas) {
    const ratio = devicePixelRatio || 1;
    const width = Math.round(stage.clientWidth * ratio), height = Math.round(stage.clientHeight * ratio);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    context.setTransform(ratio * view.scale, 0, 0, ratio * view.scale, ratio * view.x, ratio * view.y);
    context.lineCap = "round";
    return context;
  }

  function line(context, path, width, colour) {
    context.lineWidth = width / view.scale;
    context.strokeStyle = colour;
    context.stroke(path);
  }

  function drawScene() {
    const context = prepare(scene);
    context.imageSmoothingEnabled = view.scale < 4; // further in, one wants to see the pixels
    context.imageSmoothingQuality = "high";
    if (current.picture) context.drawImage(current.picture, 0, 0, current.w, current.h);
    else { context.fillStyle = "#22262c"; context.fillRect(0, 0, current.w, current.h); }
    if (!$("show-masks").checked) return;
    context.imageSmoothingEnabled = false;
    context.globalAlpha = Number($("opacity").value) / 100;
    context.drawImage(cut.fill, 0, 0);
    context.globalAlpha = 1;
    if (!$("show-borders").checked) return;
    const thin = clamp(view.scale / 1.5, 0.5, 1);
    line(context, cut.borders, 2.6 * thin, "rgba(8, 10, 14, 0.55)");
    line(context, cut.borders, thin, "rgba(255, 255, 255, 0.8)");
  }

  function shapeOf(k) {
    const mask = current.masks[k];
    if (mask.shape === undefined) mask.shape = silhouette(mask.runs, current.h);
    return mask.shape;
  }

  function drawMarks() {
    const context = prepare(marks);
    context.imageSmoothingEnabled = false;
    const pin = pinned >= 0 ? shapeOf(pinned) : null;
    if (pin) { // everything else steps back
      context.fillStyle = "rgba(9, 11, 15, 0.6)";
      context.fillRect(0, 0, current.w, current.h);
      context.globalCompositeOperation = "destination-out";
      context.drawImage(pin.bitmap, pin.x, pin.y);
      context.globalCompositeOperation = "source-over";
      line(context, pin.path, 4.5, "rgba(9, 11, 15, 0.9)");
      line(context, pin.path, 2, "#ffffff");
    }
    const hover = hovered >= 0 && hovered !== pinned ? shapeOf(hovered) : null;
    if (hover) {
      context.globalAlpha = pin ? 0.12 : 0.22;
      context.drawImage(hover.bitmap, hover.x, hover.y);
      context.globalAlpha = 1;
      line(context, hover.path, 3.6, "rgba(9, 11, 15, 0.8)");
      line(context, hover.path, 1.4, "#ffffff");
    }
    const asked = current.masks[hover ? hovered : pinned]?.prompt;
    if (asked) drawPrompt(context, asked);
  }

  /** What a mask was asked for with: its box, and its clicks, green inside and red outside. */
  function drawPrompt(context, { points, box }) {
    if (box.length) {
      const path = new Path2D();
      path.rect(box[0], box[1], box[2] - box[0], box[3] - box[1]);
      line(context, path, 4.5, "rgba(9, 11, 15, 0.8)");
      line(context, path, 2, "#ffd84d");
    }
    for (const [x, y, label] of points) {
      const path = new Path2D();
      path.arc(x, y, 5 / view.scale, 0, 2 * Math.PI);
      context.fillStyle = label ? "#3ddc84" : "#ff5a5f";
      context.fill(path);
      line(context, path, 1.5, "#ffffff");
    }
  }

  function fit() {
    const width = stage.clientWidth, height = stage.clientHeight, margin = 20;
    view.scale = Math.max(0.01, Math.min((width - margin) / current.w, (height - margin) / current.h));
    view.x = (width - current.w * view.scale) / 2;
    view.y = (height - current.h * view.scale) / 2;
    view.fitted = true;
    draw();
  }

  function zoom(factor, x = stage.clientWidth / 2, y = stage.clientHeight / 2) {
    const scale = clamp(view.scale * factor, 0.02, 64);
    view.x = x - ((x - view.x) * scale) / view.scale;
    view.y = y - ((y - view.y) * scale) / view.scale;
    view.scale = scale;
    view.fitted = false;
    draw();
  }

  // ---------------------------------------------------------------- pointing and pinning

  /** The pixel under the pointer, as a column-major position; -1 outside the picture. */
  function pixelAt(x, y) {
    const column = Math.floor((x - view.x) / view.scale), row = Math.floor((y - view.y) / view.scale);
    const inside = column >= 0 && row >= 0 && column < current.w && row < current.h;
    return inside ? column * current.h + row : -1;
  }

  const pick = (pixel) => (pixel >= 0 && $("show-masks").checked ? cut.map[pixel] - 1 : -1);

  function hover(k) {
    $("tip").hidden = k < 0;
    if (k >= 0) {
      const mask = current.masks[k];
      $("tip").textContent = `mask ${mask.id} \u00b7 ${share(mask.area)}`;
      const right = pointer.x > stage.clientWidth - 140;
      $("tip").style.left = `${pointer.x + (right ? -14 : 16)}px`;
      $("tip").style.top = `${clamp(pointer.y + 16, 0, stage.clientHeight - 34)}px`;
      $("tip").style.translate = right ? "-100%" : "0";
    }
    if (k === hovered) return;
    hovered = k;
    marks.style.cursor = k >= 0 ? "pointer" : "default";
    if (pinned < 0) describeMask();
    draw();
  }

  function pin(k, reveal = false) {
    pinned = k;
    if (k >= 0 && reveal && !cut.shown[k]) {
      const key = orders[$("mode").value].key(current.masks[k]);
      const stop = current.stops.findIndex((value) => value + 1e-9 >= key);
      if (stop > Number(level.value)) setLevel(stop);
    }
    describeMask();
    $("status").textContent = k < 0 ? "No mask pinned" : `Mask ${current.masks[k].id} pinned`;
    remember();
    draw();
  }

  function ancestors(k) {
    const chain = [];
    for (let at = current.masks[k].parent; at >= 0; at = current.masks[at].parent) chain.push(at);
    return chain;
  }

  function click(pixel) {
    const k = pick(pixel);
    const again = k >= 0 && k === picked && pinned >= 0 && (pinned === k || ancestors(k).includes(pinned));
    picked = k;
    // At the root the walk starts again with the smallest mask.
    pin(again && current.masks[pinned].parent >= 0 ? current.masks[pinned].parent : k);
  }

  function up() {
    if (pinned < 0) setLevel(Number(level.value) - 1);
    else if (current.masks[pinned].parent >= 0) pin(current.masks[pinned].parent);
  }

  function down() {
    if (pinned < 0) { setLevel(Number(level.value) + 1); return; }
    const children = current.masks[pinned].children; // from large to small
    const pixel = pointer ? pixelAt(pointer.x, pointer.y) : -1;
    const under = children.find((k) => pixel >= 0 && covers(current.masks[k].runs, pixel));
    if (children.length) pin(under ?? children[0], true);
  }

  function walk(by) {
    const shown = current.masks.map((_, k) => k).filter((k) => cut.shown[k]);
    if (!shown.length) return;
    const at = shown.indexOf(pinned);
    const next = at < 0 ? (by > 0 ? 0 : shown.length - 1) : (at + by + shown.length) % shown.length;
    pin(shown[next]);
  }

  // ---------------------------------------------------------------- the panel

  function describeImage() {
    const { masks } = current;
    $("image-name").textContent = current.name;
    facts($("image-facts"), [
      ["Size", `${current.width} \u00d7 ${current.height} px`],
      ["Masks", masks.length.toLocaleString("en")],
      ["Wholes", masks.filter((mask) => mask.parent < 0).length.toLocaleString("en")],
      ["Depth", String(masks.reduce((most, mask) => Math.max(most, mask.depth), 0))],
      ["Image id", String(current.id)],
    ]);
  }

  const chip = (k) => {
    const mask = current.masks[k];
    const node = button(String(mask.id), () => pin(k, true), "chip");
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
    const k = pinned >= 0 ? pinned : hovered;
    const panel = $("mask");
    if (k < 0) {
      panel.replaceChildren(make("p", "Point at the picture to see a mask, click to pin it.", "faint"));
      return;
    }
    const mask = current.masks[k], chain = ancestors(k);
    const head = make("p", undefined, "mask-head"), dot = make("span", "", "dot"), id = make("strong", `Mask ${mask.id}`);
    dot.style.background = mask.color;
    id.id = "mask-id";
    head.append(dot, id, make("span", pinned >= 0 ? "pinned" : "under the pointer", "tag"));
    const list = make("dl");
    const known = (name, value, text = rounded) => (value === undefined ? [] : [[name, text(value)]]);
    facts(list, [
      ["Parent", mask.parent >= 0 ? String(current.masks[mask.parent].id) : "none, a whole"],
      ...known("Stage", mask.stage, String),
      ...known("Level", mask.level),
      ...known("Granularity", mask.granularity),
      ...known("Score", mask.score),
      ["Area", `${mask.area.toLocaleString("en")} px \u00b7 ${share(mask.area)}`],
      ["Box", mask.bbox.join(", ")],
      ["Depth", String(mask.depth)],
      ...known("Crowd", mask.crowd, () => "yes"),
      ...Object.entries(mask.extra ?? {}).map(([name, value]) => [name, String(value)]),
    ]);
    panel.replaceChildren(head, list);
    if (chain.length) panel.append(...chips("Inside, from the whole down", chain.reverse()));
    if (mask.children.length) panel.append(...chips(plural(mask.children.length, "part"), mask.children));
  }

  // ---------------------------------------------------------------- the list of images

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
        open(meta.index);
        if (event.detail) marks.focus();
      }, "thumb");
      const thumb = make("img");
      thumb.alt = "";
      thumb.dataset.index = meta.index;
      thumb.width = meta.thumb[0];
      thumb.height = meta.thumb[1];
      const name = make("span", meta.name.split("/").pop(), "thumb-name");
      item.title = meta.name;
      item.append(thumb, name, make("span", plural(meta.count, "mask"), "faint"));
      loader.observe(thumb);
      return item;
    }));
    $("main").classList.toggle("single", images.length < 2);
  }

  // ---------------------------------------------------------------- search

  let found = [], active = 0;

  function find(text) {
    const wanted = text.trim().toLowerCase();
    if (!wanted) return [];
    const hits = [];
    if (/^-?\d+$/.test(wanted)) {
      const id = Number(wanted);
      for (const meta of images) {
        if (meta.ids.some(([first, last]) => first <= id && id <= last)) {
          hits.push({ index: meta.index, mask: wanted, text: `Mask ${wanted}`, note: meta.name });
        }
      }
    }
    for (const meta of images) {
      if (hits.length >= 30) break;
      if (!meta.name.toLowerCase().includes(wanted)) continue;
      hits.push({ index: meta.index, text: meta.name, note: plural(meta.count, "mask") });
    }
    return hits;
  }

  function offer() {
    found = find($("search").value);
    active = 0;
    const rows = found.map((hit, k) => {
      const row = make("li", hit.text);
      row.id = `result-${k}`;
      row.role = "option";
      row.append(make("span", hit.note, "faint"));
      row.addEventListener("pointerdown", (event) => { event.preventDefault(); go(k); });
      return row;
    });
    const nothing = $("search").value.trim() && !rows.length;
    $("results").replaceChildren(...(nothing ? [make("li", "Nothing found", "faint")] : rows));
    $("results").hidden = !rows.length && !nothing;
    $("search").setAttribute("aria-expanded", String(!$("results").hidden));
    mark();
  }

  function mark() {
    found.forEach((_, k) => $(`result-${k}`).setAttribute("aria-selected", String(k === active)));
    if (found.length) {
      $("search").setAttribute("aria-activedescendant", `result-${active}`);
      $(`result-${active}`).scrollIntoView({ block: "nearest" });
    } else $("search").removeAttribute("aria-activedescendant");
  }

  function go(k) {
    const hit = found[k];
    if (!hit) return;
    leaveSearch();
    if (hit.index !== current.index) open(hit.index, hit.mask);
    else if (hit.mask !== undefined) pin(indexOf(hit.mask), true);
  }

  function leaveSearch() {
    $("search").value = "";
    offer();
    marks.focus();
  }

  // ---------------------------------------------------------------- events

  const keys = {
    ArrowLeft: () => step(-1), ArrowRight: () => step(1), ArrowUp: up, ArrowDown: down,
    "[": () => setLevel(Number(level.value) - 1), "]": () => setLevel(Number(level.value) + 1),
    n: () => walk(1), p: () => walk(-1),
    " ": () => $("show-masks").click(), b: () => $("show-borders").click(),
    "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), 0: fit,
    "/": () => $("search").focus(), "?": () => $("help").showModal(), Escape: () => pin(-1),
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || $("help").open || !current) return;
    // What has the focus keeps its own keys: text all of them, a slider the arrows, a switch Space.
    const { target, key } = event;
    if (target.matches("input[type=search], select")) return;
    if (target.matches("input[type=range]") && key.length > 1 && key !== "Escape") return;
    if (target.matches("button, input[type=checkbox]") && key === " ") return;
    const action = keys[key.length === 1 ? key.toLowerCase() : key];
    if (!action) return;
    event.preventDefault();
    action();
  });

  $("search").addEventListener("input", offer);
  $("search").addEventListener("focus", offer);
  $("search").addEventListener("blur", () => { $("results").hidden = true; });
  $("search").addEventListener("keydown", (event) => {
    if (event.key === "Enter") go(active);
    else if (event.key === "Escape") leaveSearch();
    else if (["ArrowDown", "ArrowUp"].includes(event.key) && found.length) {
      active = (active + (event.key === "ArrowDown" ? 1 : -1) + found.length) % found.length;
      mark();
    } else return;
    event.preventDefault();
  });

  const place = (event) => {
    const box = stage.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  marks.addEventListener("pointermove", (event) => {
    if (!current) return;
    pointer = place(event);
    if (drag) {
      drag.moved ||= Math.hypot(pointer.x - drag.x, pointer.y - drag.y) > 4;
      if (drag.moved) {
        view.x = drag.left + pointer.x - drag.x;
        view.y = drag.top + pointer.y - drag.y;
        view.fitted = false;
        marks.style.cursor = "grabbing";
        draw();
      }
    } else hover(pick(pixelAt(pointer.x, pointer.y)));
  });
  marks.addEventListener("pointerdown", (event) => {
    if (!current || event.button !== 0) return;
    pointer = place(event);
    drag = { ...pointer, left: view.x, top: view.y, moved: false };
    marks.setPointerCapture(event.pointerId);
  });
  marks.addEventListener("pointerup", () => {
    if (!drag) return;
    const { moved } = drag;
    drag = null;
    if (!moved) click(pixelAt(pointer.x, pointer.y));
    marks.style.cursor = hovered >= 0 ? "pointer" : "default";
  });
  marks.addEventListener("pointercancel", () => { drag = null; });
  marks.addEventListener("pointerleave", () => { if (current && !drag) hover(-1); });
  marks.addEventListener("wheel", (event) => {
    if (!current) return;
    event.preventDefault();
    const { x, y } = place(event);
    zoom(Math.exp(-clamp(event.deltaY, -100, 100) * 0.002), x, y);
  }, { passive: false });

  level.addEventListener("input", () => {
    moved = true;
    recut();
  });
  $("score").addEventListener("input", recut);
  $("mode").addEventListener("change", () => {
    mode = $("mode").value;
    offerStops();
    recut();
  });
  $("opacity").addEventListener("input", () => {
    $("opacity-text").textContent = `${$("opacity").value} %`;
    draw();
  });
  for (const id of ["show-masks", "show-borders"]) $(id).addEventListener("change", () => current && draw());
  // After the mouse lets go of a slider, the arrow keys belong to the picture again.
  for (const id of ["level", "score", "opacity"]) $(id).addEventListener("pointerup", () => marks.focus());
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  $("zoom-in").addEventListener("click", () => zoom(1.25));
  $("zoom-out").addEventListener("click", () => zoom(0.8));
  $("zoom-fit").addEventListener("click", fit);
  $("help-open").addEventListener("click", () => $("help").showModal());
  addEventListener("hashchange", () => { if (images.length) fromAddress(); });
  new ResizeObserver(() => { if (current) { if (view.fitted) fit(); else draw(); } }).observe(stage);

  $("opacity-text").textContent = `${$("opacity").value} %`;
  listImages();
  if (images.length) fromAddress();
  else $("message").textContent = "This report holds no images.";
})();
