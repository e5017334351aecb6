// Draws the pictures from the figures in the page. Text from results files only ever becomes text.
(() => {
  "use strict";
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const root = document.documentElement;
  const drawn = new Map();
  root.classList.add("live");

  // `sets`: data set name -> rows. A later call for the same place wins over one that is still drawing.
  async function draw(id, what, spec, sets) {
    const host = document.getElementById(id);
    const turn = (drawn.get(id)?.turn ?? 0) + 1;
    drawn.get(id)?.finalize?.();
    drawn.set(id, {turn});
    if (host.clientWidth < 420) spec = narrow(spec);
    const options = {mode: "vega-lite", renderer: "svg", ast: true, actions: false, defaultStyle: false,
                     tooltip: {disableDefaultStyle: true}, config: figures.config};
    const {view, finalize} = await vegaEmbed(host, {...spec, description: `${what}. The numbers are in the tables.`, datasets: sets},
                                             options);
    if (drawn.get(id).turn !== turn) return finalize();
    drawn.set(id, {turn, view, finalize, sets});
    host.dataset.drawn = String(turn);
  }

  function narrow(spec) {
    const copy = structuredClone(spec);
    const axis = copy.encoding?.y?.axis;
    if (axis) axis.labelLimit = 105;
    return copy;
  }

  function text(id) { return document.getElementById(id).selectedOptions[0].text; }
  function choice(id) { return Number(document.getElementById(id).value); }
  function chosen(name) { return document.querySelector(`input[name=${name}]:checked`).value; }

  const UNITS = {seconds: "datum.value >= 1 ? format(datum.value, '~g') + ' s' : format(datum.value * 1000, '~g') + ' ms'",
                 bytes: "format(datum.value, '~s') + 'B'", rounds: "format(datum.value, '~s')"};

  function drawLayers() {
    const [model, place, setting] = ["layer-model", "layer-place", "layer-setting"].map(choice);
    const table = figures.layers.find(one => one.model === model && one.place === place && one.setting === setting);
    const host = document.getElementById("layer-chart");
    const message = document.getElementById("layer-message");
    host.hidden = !table;
    message.textContent = table ? "" : "This cell was not measured.";
    // On paper, of the long tables only the one whose picture is shown.
    for (const one of document.querySelectorAll("[data-layers]"))
      one.classList.toggle("bulk", Number(one.dataset.layers) !== table?.index);
    if (!table) return;
    const quantity = chosen("quantity");
    const rows = [];
    table.names.forEach((name, index) => figures.phases.forEach((phase, order) => rows.push({
      title: `${index + 1}  ${table.ops[index]}`, name, op: table.ops[index], phase, order,
      value: table[quantity][index][order]})));
    const spec = structuredClone(figures.specs.layers);
    spec.height = 20 * table.names.length;
    spec.encoding.x.axis.labelExpr = UNITS[quantity];
    spec.encoding.tooltip[3].title = quantity;
    draw("layer-chart", `Layers of ${text("layer-model")} with ${text("layer-setting")} on ${text("layer-place")}: ${quantity}`,
         spec, {layers: rows});
  }

  function drawCurves() {
    const curve = figures.curves[choice("curve-model")];
    const shown = curve.bandwidths[Number(chosen("bandwidth"))];
    const lines = shown.lines.flatMap(line => line.seconds.map((seconds, index) => ({
      setting: line.label, tone: line.tone, dash: line.dash, rtt: figures.rtts[index], seconds})));
    const legend = document.getElementById("curve-legend");
    legend.replaceChildren(...shown.lines.map(line => {
      const item = document.createElement("li");
      const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      svg.setAttribute("width", "30");
      svg.setAttribute("height", "10");
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("d", "M0 5H30");
      path.setAttribute("stroke", `var(--${line.tone})`);
      path.setAttribute("stroke-width", "2.5");
      path.setAttribute("stroke-dasharray", line.dash.join(" "));
      svg.append(path);
      item.append(svg, line.label);
      return item;
    }));
    draw("curve-chart", `Seconds of ${text("curve-model")} over the round-trip time`, figures.specs.curves,
         {lines, measured: shown.measured});
  }

  function drawAll() {
    for (const one of figures.overview)
      draw(one.id, `Seconds of every setting on ${one.title}`, {...figures.specs.overview, height: one.height, width: "container",
                    autosize: {type: "fit-x", contains: "padding"}}, {points: one.points, links: one.links});
    for (const one of figures.errors)
      draw(one.id, `How far predictions are off on ${one.title}`,
           {...figures.specs.errors, height: 22 * one.rows.length}, {errors: one.rows});
    if (figures.layers.length) drawLayers();
    if (figures.curves.length) drawCurves();
  }

  // Selects start at a cell that was measured.
  const first = figures.layers[0];
  if (first) {
    document.getElementById("layer-model").value = first.model;
    document.getElementById("layer-place").value = first.place;
    document.getElementById("layer-setting").value = first.setting;
  }
  for (const id of ["layer-model", "layer-place", "layer-setting"])
    document.getElementById(id).addEventListener("change", drawLayers);
  for (const input of document.querySelectorAll("input[name=quantity]")) input.addEventListener("change", drawLayers);
  document.getElementById("curve-model")?.addEventListener("change", drawCurves);
  for (const input of document.querySelectorAll("input[name=bandwidth]")) input.addEventListener("change", drawCurves);

  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details:not(.bulk)")) details.open = true;
  });

  drawAll();
  // For whoever wants the numbers behind a picture: id -> {view, sets}.
  globalThis.drawn = drawn;
})();
