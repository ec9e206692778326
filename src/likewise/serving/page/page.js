"use strict";
// The page: a query of words and images, hits, one hit at large, and questions about an image.

const $ = (id) => document.getElementById(id);
const MOST_SIDE = 768;        // larger images are shrunk before they are sent: models read less
const SHOWN = 24;

const state = { about: null, terms: [], hits: [], place: -1, slots: [null, null], names: ["", ""], target: 0, running: 0 };

// ---- the server

async function ask(path, body) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  const token = sessionStorage.getItem("token");
  if (token) headers.Authorization = `Bearer ${token}`;
  let response;
  try {
    response = await fetch(path, body === undefined ? { headers } : { method: "POST", headers, body: JSON.stringify(body) });
  } catch {
    throw new Error("The server cannot be reached.");
  }
  if (response.status === 401) {
    sessionStorage.removeItem("token");
    $("token-form").hidden = false;
    $("token").focus();
  }
  const found = await response.json();
  if (!response.ok) throw new Error(found.error ? found.error.message : `The server answered ${response.status}.`);
  return found;
}

const can = (name) => state.about.routes.includes(`/${name}`);

// One result of a route that answers row by row.
async function askOne(path, body) {
  const { results: [row] } = await ask(path, body);
  if (row.error) throw new Error(row.error.message);
  return row.result;
}

// ---- small parts

function make(tag, properties = {}, ...children) {
  const { class: names, ...rest } = properties;
  const node = Object.assign(document.createElement(tag), rest);
  if (names) node.className = names;
  node.append(...children);
  return node;
}

const percent = (share) => `${(100 * share).toFixed(share > 0.995 || share < 0.005 ? 2 : 1)} %`;
const above = (percentile) => `${percentile >= 99 ? percentile.toFixed(2) : percentile.toFixed(1)}\u00a0%`;

// A picture, or its name where the browser cannot show it (the server may read it).
function picture(source, name) {
  const image = make("img", { src: source, alt: name });
  image.onerror = () => image.replaceWith(make("span", { class: "name", textContent: name }));
  return image;
}

// Something went wrong, in the part of the page that is shown.
function complain(text) {
  const place = $("look").hidden ? $("status") : $("look").querySelector(".found");
  if (place === $("status")) {
    place.className = "error";
    place.textContent = text;
  } else {
    place?.replaceChildren(make("p", { class: "error", textContent: text }));
  }
}

async function loaded(source) {
  const image = new Image();
  image.src = source;
  await image.decode();
  return image;
}

async function dataUri(file) {
  const source = await new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error("The file cannot be read."));
    reader.readAsDataURL(file);
  });
  let image;
  try {
    image = await loaded(source);
  } catch {
    return source;  // a format that the browser lacks; the server may read it
  }
  const { naturalWidth: width, naturalHeight: height } = image;
  const scale = MOST_SIDE / Math.max(width, height);
  if (scale >= 1 && /^data:image\/(png|jpeg|webp|gif|bmp);/.test(source)) return source;
  const canvas = make("canvas", { width: Math.round(width * Math.min(1, scale)), height: Math.round(height * Math.min(1, scale)) });
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.92);
}

// ---- the query

// "horse + 0.5*stripes - people" as terms, as the command reads it.
function wordTerms(text) {
  const parts = text.split(/(?:^|\s)([+\-−])(?=\s|$)/);
  const terms = [];
  for (let place = 0; place < parts.length; place += 2) {
    const [, number, words] = /^\s*(?:(\d*\.?\d+)\s*\*)?\s*(.*?)\s*$/s.exec(parts[place]);
    const sign = place > 0 && parts[place - 1] !== "+" ? -1 : 1;
    if (words) terms.push({ text: words, weight: sign * (number === undefined ? 1 : Number(number)) });
  }
  return terms;
}

function addTerm(term) {
  state.terms.push(term);
  showTerms();
}

function showTerms() {
  $("terms").replaceChildren(...state.terms.map((term) => {
    const minus = term.weight < 0;
    const sign = make("button", { type: "button", class: "sign", textContent: minus ? "−" : "+" });
    sign.setAttribute("aria-label", minus ? "subtracted; press to add" : "added; press to subtract");
    sign.onclick = () => { term.weight = -term.weight; showTerms(); search(); };
    const remove = make("button", { type: "button", textContent: "×" });
    remove.setAttribute("aria-label", "remove this image");
    remove.onclick = () => { state.terms = state.terms.filter((one) => one !== term); showTerms(); search(); };
    return make("li", { class: minus ? "chip minus" : "chip" }, sign, picture(term.shown, term.name), remove);
  }));
}

function showFilters() {
  const columns = Object.entries(state.about.index.columns);
  $("filters").replaceChildren(...columns.slice(0, 8).map(([name, values]) => {
    const field = values
      ? make("select", {}, make("option", { value: "", textContent: "any" }), ...values.map((value) => make("option", { value, textContent: value })))
      : make("input", { type: "text", placeholder: "any" });
    field.name = name;
    field.onchange = search;
    return make("label", {}, `${name} `, field);
  }));
}

function filters() {
  const fields = [...$("filters").querySelectorAll("select, input")].filter((field) => field.value !== "");
  return Object.fromEntries(fields.map((field) => [field.name, field.value]));
}

async function search() {
  const words = wordTerms($("words").value);
  const images = state.terms.map(({ weight, image, like }) => (like ? { like, weight } : { image, weight }));
  const query = [...words, ...images];
  const running = ++state.running;
  $("status").className = "";
  if (!query.length) {
    $("hits").replaceChildren();
    $("status").textContent = $("words").value.trim() ? "There are no words between the signs." : "";
    return;
  }
  $("status").textContent = "Searching …";
  try {
    const found = await ask("/search", { query, filters: filters(), top: SHOWN, thumbnails: true });
    if (running !== state.running) return;  // a later search was begun
    state.hits = found.hits;
    $("hits").replaceChildren(...found.hits.map((hit, place) => card(hit, () => openHit(place))));
    $("status").textContent = verdict(found);
  } catch (error) {
    if (running !== state.running) return;
    $("hits").replaceChildren();
    $("status").className = "error";
    $("status").textContent = error.message;
  }
}

function verdict({ hits, matching }) {
  if (!hits.length) return "Nothing passes these filters.";
  const rows = `The best ${hits.length} of ${matching.toLocaleString("en")}.`;
  const best = hits[0].percentile;
  if (best === null) return rows;
  if (best < 95) return `Nothing fits well: ${above(best)} of random pairs score below the best hit.`;
  return `${rows} Scores are cosines, with the share of random pairs below them.`;
}

function card(hit, open) {
  const name = hit.captions?.[0] ?? hit.label ?? hit.id;
  const picture = hit.thumbnail
    ? make("img", { src: hit.thumbnail, alt: "", loading: "lazy" })
    : make("span", { class: "none", textContent: name });
  const score = make("span", { class: "score" }, make("b", { textContent: hit.score.toFixed(3) }));
  if (hit.percentile !== null) {
    score.append(make("span", { class: "dot", textContent: " · " }), above(hit.percentile));
    score.title = `${above(hit.percentile)} of random pairs score lower`;
  }
  const button = make("button", { type: "button", class: "card", title: name }, picture, make("span", { class: "words", textContent: name }), score);
  button.onclick = open;
  return make("li", {}, button);
}

// ---- one hit at large

async function openHit(place, hit = state.hits[place]) {
  state.place = place;
  state.open = hit;
  $("large").src = hit.thumbnail ?? "";
  $("large").alt = hit.captions?.[0] ?? hit.id;
  document.querySelector(".picture").hidden = !hit.thumbnail;
  $("place").textContent = place < 0 ? "" : `${place + 1} of ${state.hits.length}`;
  $("previous").disabled = place <= 0;
  $("next").disabled = place < 0 || place + 1 >= state.hits.length;
  $("captions").replaceChildren(...(hit.captions ?? []).map((text) => make("p", { textContent: text })));
  const facts = { id: hit.id, score: hit.score.toFixed(4) };
  if (hit.percentile !== null) facts["random pairs below"] = above(hit.percentile);
  for (const [name, value] of Object.entries(hit)) {
    if (["captions", "thumbnail", "percentile", "score", "id"].includes(name) || value === null) continue;
    facts[name] = typeof value === "object" ? JSON.stringify(value) : String(value);
  }
  $("facts").replaceChildren(...Object.entries(facts).flatMap(([name, value]) => [make("dt", { textContent: name }), make("dd", { textContent: value })]));
  showAsk($("detail").querySelector(".ask"), () => [hit.thumbnail], Boolean(hit.thumbnail));
  $("neighbours").replaceChildren();
  if (!$("detail").open) $("detail").showModal();
  $("detail").scrollTop = 0;
  try {
    const { hits } = await ask("/search", { query: [{ like: hit.id }], top: 9, thumbnails: true });
    if (state.open !== hit) return;
    const others = hits.filter((one) => one.id !== hit.id).slice(0, 8);
    $("neighbours").replaceChildren(...others.map((one) => card(one, () => openHit(-1, one))));
  } catch (error) {
    $("neighbours").replaceChildren(make("li", { class: "error", textContent: error.message }));
  }
}

function takeHit(weight) {
  const hit = state.open;
  addTerm({ like: hit.id, weight, shown: hit.thumbnail ?? "", name: hit.captions?.[0] ?? hit.id });
  $("detail").close();
  search();
}

// ---- questions about an image

const TASKS = [
  { route: "caption", title: "Describe it", run: async ([images]) => {
    const { captions, seen } = await captioned(images);
    return [make("p", { class: "big", textContent: captions[0].text }), ...seen];
  } },
  { route: "answer", title: "Answer a question", hint: "what is in the image?", run: async ([images], questions) => {
    const found = await lookedAt("/answer", { images, questions, num_answers: 3 });
    return [ranking(found.answers.map((one) => [one.text, one.probability])), await drawn(images, found.map)];
  } },
  { route: "ground", title: "Find what is named", hint: "a dog", run: async ([images], phrases) => {
    const found = await askOne("/ground", { images, phrases });
    return [make("p", { textContent: `Image and phrase match: ${percent(found.probability)}` }), await drawn(images, found.map, found.region)];
  } },
  { route: "explain", title: "Compare with a text", hint: "a dog in the snow", needs: "encode_texts", run: async ([images], texts) => {
    const found = await askOne("/explain", { images, texts });
    const figure = found.probability !== null ? `They match: ${percent(found.probability)}` : `Cosine ${found.cosine.toFixed(3)}`;
    return [make("p", { textContent: figure }), ...await byWords(images, found)];
  } },
  { route: "entail", title: "Judge a statement", hint: "there is a dog", run: async ([images], statements) => {
    const found = await lookedAt("/entail", { images, statements });
    return [...judged(found), await drawn(images, found.maps?.[0])];
  } },
  { route: "compare", title: "Judge a statement about two images", hint: "both show a dog", images: 2, run: async ([left, right], statements) => {
    const found = await lookedAt("/compare", { left, right, statements });
    const pair = await Promise.all([left, right].map((image, place) => drawn(image, found.maps?.[place])));
    return [...judged(found), make("div", { class: "pair" }, ...pair)];
  } },
  { route: "classify", title: "Name its class", hint: "dog, cat, horse", run: async ([images], labels) => {
    const names = labels.split(",").map((name) => name.trim()).filter(Boolean);
    const found = await askOne("/classify", names.length ? { images, labels: names } : { images });
    return [ranking(found.classes.map((one) => [one.label, one.probability, one.score]))];
  }, free: () => state.about.classes !== null },
];

async function captioned(images) {
  const captions = await askOne("/caption", { images, num_beams: 3 });
  let seen = [];
  try {
    seen = await byWords(images, await askOne("/explain", { images, texts: captions[0].text }), true);
  } catch { /* a decoder without attention looks nowhere */ }
  return { captions, seen };
}

// With maps where the model has them.
async function lookedAt(path, body) {
  try {
    return await askOne(path, { ...body, look: true });
  } catch {
    return askOne(path, body);
  }
}

function judged(found) {
  const rows = Object.entries(found.probabilities).sort(([, one], [, other]) => other - one);
  return [make("p", { class: "big", textContent: found.label }), ranking(rows)];
}

function ranking(rows) {
  return make("ol", {}, ...rows.map(([text, share, score]) =>
    make("li", {}, `${text} `, make("span", { class: "soft", textContent: share === undefined ? score.toFixed(3) : percent(share) }))));
}

async function byWords(images, found, attention = false) {
  const canvas = await drawn(images, found.map, null, attention);
  const buttons = found.words.map(({ word, map }) => {
    const button = make("button", { type: "button", textContent: word });
    button.onclick = button.onfocus = button.onmouseenter = () => paint(canvas, images, map, null, attention);
    return button;
  });
  return buttons.length > 1 ? [canvas, make("div", { class: "tokens" }, ...buttons)] : [canvas];
}

async function drawn(source, heat, region = null, attention = false) {
  if (!heat) return "";
  const canvas = make("canvas", { width: 480, height: 480 });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "where the model looked");
  await paint(canvas, source, heat, region, attention);
  return canvas;
}

// The square that the model saw, with the map over it.
async function paint(canvas, source, heat, region, attention) {
  const image = await loaded(source);
  const { width: side } = canvas;
  const { naturalWidth: width, naturalHeight: height } = image;
  const { fit } = state.about.images;
  const scale = fit === "pad" ? side / Math.max(width, height) : side / Math.min(width, height);
  const [across, down] = fit === "squash" ? [side / width, side / height] : [scale, scale];
  const [left, top] = [(side - width * across) / 2, (side - height * down) / 2];
  const context = canvas.getContext("2d");
  context.fillStyle = "#7c7468";
  context.fillRect(0, 0, side, side);
  context.drawImage(image, left, top, width * across, height * down);
  context.drawImage(heatImage(heat, attention), 0, 0, side, side);
  if (region) {
    const [x, y, wide, high] = region;
    context.lineWidth = 4;
    context.strokeStyle = "#fff";
    context.strokeRect(left + x * across, top + y * down, wide * across, high * down);
    context.lineWidth = 2;
    context.strokeStyle = "#d0006f";
    context.strokeRect(left + x * across, top + y * down, wide * across, high * down);
  }
}

function heatImage(heat, attention) {
  const grid = heat.length;
  const mean = attention ? heat.flat().reduce((sum, value) => sum + value, 0) / grid ** 2 : 0;  // it is nowhere 0
  const canvas = make("canvas", { width: grid, height: grid });
  const pixels = new ImageData(grid, grid);
  heat.flat().forEach((value, place) => {
    const strength = Math.sqrt(Math.max(0, value - mean) / Math.max(1e-6, 1 - mean));
    pixels.data.set([255, 200 - 180 * strength, 40, 190 * strength], 4 * place);
  });
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

function possible(task, images) {
  const words = !task.needs || state.about.abilities.includes(task.needs);
  return can(task.route) && words && (task.images ?? 1) <= images;
}

// A choice of what to ask, its words, and what came of it.
function showAsk(place, images, there = true, most = 1) {
  const tasks = there ? TASKS.filter((task) => possible(task, most)) : [];
  if (!tasks.length) {
    place.replaceChildren();
    return;
  }
  const choice = make("select", {}, ...tasks.map((task) => make("option", { value: task.route, textContent: task.title })));
  choice.setAttribute("aria-label", "What to ask");
  const words = make("input", { type: "text", autocomplete: "off" });
  words.setAttribute("aria-label", "Words");
  const found = make("div", { class: "found" });
  found.setAttribute("role", "status");
  const form = make("form", { class: "line" }, choice, words, make("button", { class: "main", textContent: "Ask" }));
  const chosen = () => tasks.find((task) => task.route === choice.value);
  const fit = () => {
    words.hidden = !chosen().hint;
    words.placeholder = chosen().hint ?? "";
    found.replaceChildren();
  };
  choice.onchange = fit;
  fit();
  form.onsubmit = async (event) => {
    event.preventDefault();
    const task = chosen();
    const given = images();
    try {
      if (given.slice(0, task.images ?? 1).some((one) => !one)) throw new Error(`Choose ${task.images === 2 ? "two images" : "an image"} first.`);
      if (task.hint && !words.value.trim() && !task.free?.()) throw new Error("Type some words first.");
      found.replaceChildren("…");
      found.replaceChildren(...await task.run(given, words.value.trim()));
    } catch (error) {
      found.replaceChildren(make("p", { class: "error", textContent: error.message }));
    }
    found.scrollIntoView({ block: "nearest" });
  };
  place.replaceChildren(form, found);
}

function showSlots() {
  const count = can("compare") ? 2 : 1;
  $("slots").replaceChildren(...state.slots.slice(0, count).map((source, place) => {
    const slot = make("button", { type: "button", class: source ? "slot filled" : "slot" }, source ? picture(source, state.names[place]) : "Choose an image");
    slot.onclick = () => { state.target = place; chooseFile(); };
    return slot;
  }));
}

// ---- images from outside

function chooseFile() {
  $("file").value = "";
  $("file").click();
}

async function take(file) {
  if (!file) return;
  if (!file.type.startsWith("image/")) {
    complain(`${file.name} is not an image.`);
    return;
  }
  let image;
  try {
    image = await dataUri(file);
  } catch (error) {
    complain(error.message);
    return;
  }
  if (!$("look").hidden) {
    if (state.slots[state.target] && can("compare") && !state.slots[1]) state.target = 1;
    state.slots[state.target] = image;
    state.names[state.target] = file.name || "the image";
    showSlots();
  } else if (!$("search").hidden) {
    addTerm({ image, weight: 1, shown: image, name: file.name || "image" });
    search();
  }
}

// The first image, or the first of whatever else there is.
function firstFile(list) {
  const files = [...(list ?? [])];
  return files.find((file) => file.type.startsWith("image/")) ?? files[0];
}

function listen() {
  $("query").onsubmit = (event) => { event.preventDefault(); search(); };
  $("words").onsearch = search;
  $("add-image").onclick = chooseFile;
  $("file").onchange = () => take($("file").files[0]);
  document.addEventListener("paste", (event) => {
    const file = firstFile(event.clipboardData?.files);
    if (file) { event.preventDefault(); take(file); }
  });
  document.addEventListener("dragover", (event) => { event.preventDefault(); $("drop").hidden = false; });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("drop").hidden = true; });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    $("drop").hidden = true;
    take(firstFile(event.dataTransfer?.files));
  });
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
    if ($("detail").open && !typing && event.key === "ArrowLeft" && !$("previous").disabled) openHit(state.place - 1);
    if ($("detail").open && !typing && event.key === "ArrowRight" && !$("next").disabled) openHit(state.place + 1);
    if (!$("detail").open && !typing && event.key === "/" && !$("search").hidden) { event.preventDefault(); $("words").focus(); }
  });
  $("previous").onclick = () => openHit(state.place - 1);
  $("next").onclick = () => openHit(state.place + 1);
  $("close").onclick = () => $("detail").close();
  $("detail").onclick = (event) => { if (event.target === $("detail")) $("detail").close(); };
  $("detail").onclose = () => { state.open = null; };
  $("plus").onclick = () => takeHit(1);
  $("minus").onclick = () => takeHit(-1);
  $("to-search").onclick = () => turnTo("search");
  $("to-look").onclick = () => turnTo("look");
  $("token-form").onsubmit = (event) => {
    event.preventDefault();
    sessionStorage.setItem("token", $("token").value);
    start();
  };
}

function turnTo(name) {
  for (const one of ["search", "look"]) {
    $(one).hidden = one !== name;
    $(`to-${one}`).setAttribute("aria-pressed", String(one === name));
  }
}

async function start() {
  try {
    state.about = (await ask("/v1/models")).data[0];
  } catch (error) {
    $("about").textContent = error.message;
    return;
  }
  $("token-form").hidden = true;
  const { about } = state;
  const size = about.index ? `, ${about.index.size.toLocaleString("en")} rows` : "";
  $("about").textContent = `${about.id} (${about.method})${size}`;
  const looks = about.images !== null && TASKS.some((task) => possible(task, 2));
  $("tabs").hidden = !(about.index && looks);
  if (about.index) {
    showFilters();
    if (!about.abilities.includes("encode_texts")) { $("words").hidden = true; $("search-hint").textContent = "This model reads images alone: drop, paste or choose one."; }
    if (!about.abilities.includes("encode_images")) $("add-image").hidden = true;
    turnTo("search");
    $("words").focus();
  } else if (looks) {
    turnTo("look");
  } else {
    $("about").textContent += ": there is no index (--index), so this page has nothing to search. The routes are described in /openapi.json.";
  }
  if (looks) {
    showSlots();
    showAsk($("look").querySelector(".ask"), () => state.slots, true, 2);
  }
}

listen();
start();
