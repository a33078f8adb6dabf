// The slider: looks up what Python computed for its position, and hands it to the charts and two tables.
{
  const { models, charts, names, colours, ideals } = JSON.parse(document.getElementById("explored").textContent);
  const [position, grouping, mode] = ["position", "grouping", "mode"].map(id => document.getElementById(id));
  const percent = rate => rate === null ? "–" : (100 * rate).toFixed(1);
  const number = value => value === null ? "–" : String(+value.toPrecision(3)).replace("-", "−");
  const accuracy = (group, fmr, fnmr) => fmr === null || fnmr === null ? null : 1 - (group.kin * fnmr + group.non_kin * fmr) / (group.kin + group.non_kin);
  const style = place => ({ colour: place ? colours[(place - 1) % colours.length] : "#000000", dash: place ? Math.floor((place - 1) / colours.length) % 3 : 0 });
  let at = models.map(model => Object.values(model.marks)[0]); // the position of each model

  const options = { renderer: "svg", actions: { export: true, source: false, compiled: false, editor: false } };
  const views = []; // filled when all charts are there

  const rates = model => { // of each group of a model, at its position
    const of = models[model].groupings[grouping.value], k = at[model], found = of[mode.value];
    return of.groups.map((group, place) => {
      const [fmr, fnmr, threshold] = ["fmr", "fnmr", "threshold"].map(name => found[name][place][k]);
      const before = accuracy(group, of.one.fmr[place][k], of.one.fnmr[place][k]);
      return { ...group, ...style(place), group: group.name, place, fmr, fnmr, threshold, tpr: fnmr === null ? null : 1 - fnmr, accuracy: accuracy(group, fmr, fnmr), before };
    });
  };

  const fill = (table, header, rows) => {
    table.replaceChildren(document.createElement("thead"), document.createElement("tbody"));
    const add = (part, cells, tag) => {
      const row = part.insertRow();
      cells.forEach((text, column) => {
        const cell = document.createElement(tag);
        if (column === 0) cell.className = "text";
        text instanceof Node ? cell.append(text) : cell.textContent = text;
        row.append(cell);
      });
      return row;
    };
    add(table.tHead, header, "th");
    for (const { cells, faint } of rows) add(table.tBodies[0], cells, "td").className = faint ? "faint" : "";
  };

  const label = group => { // its name, with the line that draws it
    const name = document.createElement("span"), line = document.createElement("span");
    line.style.cssText = `display:inline-block;width:1.6rem;border-top:3px ${["solid", "dashed", "dotted"][group.dash]} ${group.colour};vertical-align:middle;margin-right:.4rem`;
    name.append(line, group.name);
    return name;
  };

  const show = () => {
    const now = models.map((_, model) => rates(model));
    for (const { view, model, chart } of views) {
      const of = models[model].groupings[grouping.value], groups = now[model];
      const drawn = groups.filter(group => group.compared || chart === "scores");
      if (chart === "scores") {
        view.data("densities", drawn.flatMap(group => ["#0072B2", "#D55E00"].flatMap((colour, kind) => of.densities[group.place][kind].map((density, bin) =>
          ({ group: group.name, place: group.place, colour, density, from: of.edges[bin], to: of.edges[bin + 1], threshold: Math.min(Math.max(group.threshold, of.edges[0]), of.edges.at(-1)) })))));
      } else {
        const steps = [...Array(+position.max + 1).keys()];
        view.data("curves", drawn.flatMap(({ name, place, colour, dash }) => steps.map(k =>
          ({ group: name, colour, dash, fmr: of.one.fmr[place][k], fnmr: of.one.fnmr[place][k], tpr: 1 - of.one.fnmr[place][k] }))));
        view.data("points", drawn);
      }
      view.resize().runAsync();
    }
    const many = models.length > 1 ? names.map(name => `${name}: `) : [""];
    fill(document.getElementById("rates"),
      ["group", ...many.flatMap(name => [`${name}threshold`, "FMR, %", "FNMR, %", "accuracy, %", ...(mode.value === "one" ? [] : ["change in accuracy, points"])])],
      now[0].map((group, place) => ({ faint: !group.compared, cells: [label(group), ...now.flatMap(groups => {
        const it = groups[place], gained = it.accuracy === null ? null : it.accuracy - it.before;
        return [number(it.threshold), percent(it.fmr), percent(it.fnmr), percent(it.accuracy), ...(mode.value === "one" ? [] : [(gained >= 0 ? "+" : "") + percent(gained).replace("-", "−")])];
      })] })));
    const unequal = models.map((model, it) => [model.groupings[grouping.value][mode.value].disparities, at[it]]);
    fill(document.getElementById("unequal"), ["disparity between the groups", "ideal", ...(models.length > 1 ? names : ["value"])],
      Object.keys(unequal[0][0]).map(name => ({ cells: [name, number(ideals[name]), ...unequal.map(([values, k]) => number(values[name][k]))] })));
    document.getElementById("said").textContent = now.map((groups, model) => `${many[model]}of 100 relatives ${(100 * groups[0].tpr).toFixed(0)} are accepted, of 100 strangers ${(100 * groups[0].fmr).toFixed(0)}`).join("; ");
  };

  // Where a mark lies on the slider: there the first model accepts as many strangers.
  const place = k => Math.round(Math.sqrt(models[0].groupings[grouping.value].one.fmr[0][k]) * position.max);
  const follow = () => { position.value = place(at[0]); };
  document.getElementById("ticks").append(...Object.values(models[0].marks).map(k => new Option("", place(k))));
  position.addEventListener("input", () => { at = models.map(() => +position.value); show(); });
  for (const field of [grouping, mode]) field.addEventListener("change", show);
  for (const button of document.querySelectorAll("#marks button")) {
    button.addEventListener("click", () => { at = models.map(model => model.marks[button.value] ?? Object.values(model.marks)[0]); follow(); show(); });
  }
  document.getElementById("explorer").hidden = false;
  Promise.all([...document.querySelectorAll("[data-chart]")].map(async container => {
    const { chart, model } = container.dataset;
    views.push({ chart, model: +model, view: (await vegaEmbed(container, charts[chart], options)).view });
  })).then(() => { follow(); show(); });
}
