// The live training chart. gr.HTML runs this file once per chart, with `element`, `props`, `watch` and `trigger` given, and
// plotly_loader.js before it.
// Data only arrives through `watch('value')`; what users typed is set as text or escaped, never as HTML.

// Okabe and Ito's colours, apart for the colour-blind; '' is the text's own colour. Yellow is last: faint on white.
const COLOURS = ['#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '', '#F0E442'];
const DASHES = ['solid', '7px,3px', '2px,3px', '9px,3px,2px,3px', '14px,4px', '14px,3px,2px,3px,2px,3px'];
const SMALL_SECONDS = 10; // the most a small chart is behind the large one
const NEAR = 200; // pixels around the window within which charts are kept up to date
const LABEL_SECONDS = 4; // the least time between two changes of the spoken summary

const CHARTS = [
  {name: 'loss', metrics: ['loss', 'validation_loss'], title: 'loss (nats per token)', digits: '.4~g'},
  {name: 'learning_rate', metrics: ['learning_rate'], title: 'learning rate', digits: '.3~g', floor: 'tozero'},
  {name: 'grad_norm', metrics: ['grad_norm'], title: 'gradient norm', digits: '.3~g', floor: 'tozero'},
  {name: 'tokens_per_second', metrics: ['tokens_per_second'], title: 'tokens/s', digits: ',.0f', floor: 'tozero'},
];
const WATCHED = 'watched '; // what an objective watches besides, while training
const HELD_OUT = 'held-out '; // and on held-out rows
const isHeldOut = metric => metric === 'validation_loss' || metric.startsWith(HELD_OUT);
const REWARD = `${WATCHED}reward`; // what a run goes for that has one: its loss says little, so the reward has the large chart
const SET = [`${WATCHED}KL coefficient`]; // by the trainer
// What is set is exact, and held-out values are few: smoothing either would only bend them.
const isSmoothed = metric => ['loss', 'grad_norm', 'tokens_per_second'].includes(metric)
  || (metric.startsWith(WATCHED) && !SET.includes(metric));

const stage = element.querySelector('.live-plot-stage');
const region = element.querySelector('.live-plot-charts');
const runList = element.querySelector('.live-plot-runs');
const control = name => element.querySelector(`[name="${name}"]`);
const isLarge = node => node.classList.contains('live-plot-large');
const place = chart => [...region.children].find(node => node.dataset.chart === chart.name);

let runs = new Map(); // run id -> {label, slot, hidden, metrics: Map(metric -> {steps, minutes, values})}
let serial = -1; // of the last payload applied
let zoom = {x: null, y: {}}; // ranges the user chose, as plotly counts them; null follows the data
let Plotly = null;
let drawing = false; // a draw is due at the next frame
let drawingAll = false; // and it is of the small charts too
let smallDue = 0; // the timer after which what is new shows in them
let held = false; // the pointer is down on a chart: redrawing now would break the drag
let summary = 0; // the timer of the spoken summary

// --- Data ------------------------------------------------------------------------------------------------------

function apply(payload) {
  if (!payload || payload.serial <= serial) return;
  const sent = JSON.parse(payload.series);
  if (payload.kind === 'whole') keepOnly(new Set(sent.map(series => series.run)));
  const lost = payload.after !== null && payload.after !== serial;
  serial = payload.serial;
  sent.forEach(extend);
  listRuns();
  (payload.kind === 'whole' ? scheduleDraw : scheduleNews)();
  scheduleSummary();
  if (lost) trigger('behind'); // answered with the whole, which replaces this
}

// Empties the curves for a new whole. Runs that stay keep colour and visibility, and the zoom stays with them.
function keepOnly(wanted) {
  const kept = new Map([...runs].filter(([run]) => wanted.has(run)));
  for (const run of kept.values()) run.metrics.clear();
  if (!kept.size) zoom = {x: null, y: {}};
  runs = new Map([...wanted].map(run => [run, kept.get(run)]).filter(([, run]) => run));
}

function extend(series) {
  const run = runs.get(series.run) ?? {slot: freeSlot(), hidden: false, metrics: new Map()};
  run.label = series.label;
  runs.set(series.run, run);
  const points = run.metrics.get(series.metric) ?? {steps: [], minutes: [], values: []};
  run.metrics.set(series.metric, points);
  series.steps.forEach((step, i) => {
    // A resumed run goes back some steps; what it says now holds.
    while (points.steps.at(-1) >= step) for (const column of Object.values(points)) column.pop();
    points.steps.push(step);
    points.minutes.push(series.seconds[i] / 60);
    points.values.push(series.values[i]);
  });
}

function freeSlot() {
  const taken = new Set([...runs.values()].map(run => run.slot));
  let slot = 0;
  while (taken.has(slot)) slot++;
  return slot;
}

// The charts of now, the large one first: the fixed ones, and one for each thing that some run watches besides.
function charts() {
  const names = new Set();
  for (const run of runs.values()) {
    for (const metric of run.metrics.keys()) {
      if (metric.startsWith(WATCHED)) names.add(metric.slice(WATCHED.length));
      if (metric.startsWith(HELD_OUT)) names.add(metric.slice(HELD_OUT.length));
    }
  }
  const watched = [...names].map(name => ({
    name: WATCHED + name, metrics: [WATCHED + name, HELD_OUT + name], title: name, digits: '.4~g',
    floor: SET.includes(WATCHED + name) ? 'tozero' : 'normal',
  }));
  const loss = names.size ? {...CHARTS[0], title: 'loss'} : CHARTS[0]; // only a language model's is in nats per token
  const rewarded = watched.filter(chart => chart.name === REWARD);
  const rest = watched.filter(chart => chart.name !== REWARD);
  return [...rewarded, ...(rewarded.length ? rest.concat(loss) : [loss, ...rest]), ...CHARTS.slice(1)];
}

// A place on the page for each of them, and for no others.
function makeRoom(wanted) {
  const nodes = wanted.map(chart => {
    const node = place(chart) ?? document.createElement('div');
    node.dataset.chart = chart.name;
    node.classList.toggle('live-plot-large', chart === wanted[0]);
    node.classList.toggle('live-plot-small', chart !== wanted[0]);
    return node;
  });
  nodes.forEach(node => nearing.observe(node)); // once is enough, and more are no harm
  if (nodes.every((node, i) => region.children[i] === node) && region.children.length === nodes.length) return;
  [...region.children].filter(node => !nodes.includes(node)).forEach(node => { Plotly.purge(node); nearing.unobserve(node); });
  region.replaceChildren(...nodes);
}

function isEmpty() {
  const drawn = charts().flatMap(chart => chart.metrics);
  return ![...runs.values()].some(run => drawn.some(metric => run.metrics.get(metric)?.steps.length));
}

// --- Numbers ---------------------------------------------------------------------------------------------------

// Exponential moving average, freed of its pull towards the start (Adam's correction: arxiv.org/abs/1412.6980, 3).
function smooth(values, weight) {
  let sum = 0;
  let mass = 0;
  return values.map(value => {
    sum = weight * sum + (1 - weight) * value;
    mass = weight * mass + (1 - weight);
    return sum / mass;
  });
}

// Which points to draw: all, or when they are more than the pixels can tell apart, the lowest and the highest of each
// bucket in and around the view. With a bucket for every other pixel nothing is lost to the eye; drawn whole, four
// long runs would keep the browser busy for seconds at each tick.
function thin(xs, ys, view, buckets) {
  const all = xs.length <= 2 * buckets;
  const [first, last] = view && !all ? around(xs, view) : [0, xs.length];
  const count = last - first;
  if (count <= 2 * buckets) return Array.from({length: count}, (_, i) => first + i);
  const picked = [];
  for (let bucket = 0; bucket < buckets; bucket++) {
    const from = first + Math.floor(bucket * count / buckets);
    const to = first + Math.floor((bucket + 1) * count / buckets);
    picked.push(...extremes(ys, from, to));
  }
  if (picked.at(-1) !== last - 1) picked.push(last - 1); // the newest point always shows
  return picked;
}

function extremes(ys, from, to) {
  let low = from;
  let high = from;
  for (let i = from + 1; i < to; i++) {
    if (ys[i] < ys[low]) low = i;
    if (ys[i] > ys[high]) high = i;
  }
  return low === high ? [low] : low < high ? [low, high] : [high, low];
}

// The view and as much again on either side, so that panning meets points before it is let go.
function around(xs, [left, right]) {
  const span = right - left;
  const first = xs.findIndex(x => x >= left - span);
  const behind = xs.findIndex(x => x > right + span);
  return [first < 0 ? xs.length : first, behind < 0 ? xs.length : behind];
}

// --- Drawing ---------------------------------------------------------------------------------------------------

function scheduleDraw() {
  drawingAll = true;
  scheduleFrame();
}

// What is new shows in the large chart at once, and in the small ones before they are a tenth of their width behind, or ten
// seconds: every drawing takes the processor from the training it shows.
function scheduleNews() {
  scheduleFrame();
  const seconds = 60 * Math.max(0, ...[...runs.values()].map(run => run.metrics.get('loss')?.minutes.at(-1) ?? 0));
  smallDue ||= setTimeout(() => { smallDue = 0; scheduleDraw(); }, 1000 * Math.min(seconds / 10, SMALL_SECONDS));
}

function scheduleFrame() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    draw();
  });
}

function draw() {
  if (!element.isConnected) return dispose();
  stage.toggleAttribute('data-empty', isEmpty());
  if (!Plotly || held || !region.clientWidth) return; // drawn once loaded, let go, or shown
  const settings = {
    smoothing: Number(control('smoothing').value),
    log: control('log').checked,
    along: control('along').value,
    theme: theme(),
  };
  const wanted = charts();
  makeRoom(wanted);
  wanted.filter(chart => isToBeDrawn(place(chart))).forEach(chart => drawChart(chart, settings));
  drawingAll = false;
}

// A chart that nobody sees is drawn when it comes near.
function isToBeDrawn(node) {
  const {top, bottom} = node.getBoundingClientRect();
  return !node.data || ((drawingAll || isLarge(node)) && bottom > -NEAR && top < innerHeight + NEAR);
}

function drawChart(chart, settings) {
  const node = place(chart);
  const fresh = !node.data;
  const shown = [...runs.values()].filter(run => !run.hidden);
  const curves = chart.metrics.flatMap(metric => shown.flatMap(run => curveOf(run, metric, chart, settings)));
  const withRaw = isLarge(node) || shown.length === 1; // raw lines of many runs fill a small chart
  const bases = chart.name === 'loss' ? baseLosses(shown, settings.log) : [];
  // From back to front, so that no run's noise covers another run's line.
  const traces = [...bases.map(roomFor), ...(withRaw ? curves.flatMap(rawLine) : []), ...curves.map(line)];
  // `displayModeBar: false` leaves out plotly's buttons, the one that sends to its cloud among them.
  const config = {displayModeBar: false, displaylogo: false, plotlyServerURL: '', doubleClick: 'autosize'};
  Plotly.react(node, traces, layout(chart, node, bases, settings), config);
  if (fresh) node.on('plotly_relayout', () => readZoom(chart, node));
}

// What to draw of one metric of one run: `ys` are the values, smoothed where that is asked for.
function curveOf(run, metric, chart, {smoothing, along, theme}) {
  const points = run.metrics.get(metric);
  if (!points?.steps.length) return [];
  const smoothed = smoothing > 0 && isSmoothed(metric) && points.steps.length > 1;
  return [{
    name: escape(run.label),
    colour: colour(run, theme),
    dash: DASHES[run.slot % DASHES.length],
    heldOut: isHeldOut(metric),
    hover: hoverText(metric, chart.digits, smoothed),
    buckets: Math.ceil(place(chart).clientWidth / 2),
    xs: points[along],
    ys: smoothed ? smooth(points.values, smoothing) : points.values,
    raw: points.values,
    steps: points.steps,
    smoothed,
  }];
}

function line(curve) {
  const {xs, ys, raw, steps, heldOut} = curve;
  const picked = thin(xs, ys, zoom.x, curve.buckets);
  return {
    type: 'scatter',
    mode: heldOut || ys.length === 1 ? 'lines+markers' : 'lines', // a lone point makes no line
    x: picked.map(i => xs[i]),
    y: picked.map(i => ys[i]),
    customdata: picked.map(i => raw[i]),
    text: picked.map(i => steps[i]),
    name: curve.name,
    line: {color: curve.colour, dash: curve.dash, width: heldOut ? 3 : 1.5},
    marker: {color: curve.colour, size: 7},
    hovertemplate: curve.hover,
  };
}

// The values as they came, faint behind a smoothed line.
function rawLine(curve) {
  if (!curve.smoothed) return [];
  const {xs, raw} = curve;
  const picked = thin(xs, raw, zoom.x, curve.buckets);
  return [{
    type: 'scatter',
    mode: 'lines',
    x: picked.map(i => xs[i]),
    y: picked.map(i => raw[i]),
    line: {color: curve.colour, width: 1},
    opacity: 0.25,
    hoverinfo: 'skip',
  }];
}

// The name goes in by reference: written into the template, a "%{" in it would be read as a command.
function hoverText(metric, digits, smoothed) {
  const kind = isHeldOut(metric) ? ', held-out' : metric === 'loss' || metric.startsWith(WATCHED) ? ', training' : '';
  const average = smoothed ? ` (smoothed %{y:${digits}})` : '';
  const at = isHeldOut(metric) ? ' at step %{text}' : ''; // measured rarely: the nearest is shown
  return `%{fullData.name}${kind} %{customdata:${digits}}${average}${at}<extra></extra>`;
}

function layout(chart, node, bases, {log, along, theme}) {
  const large = isLarge(node);
  return {
    width: node.clientWidth,
    height: node.clientHeight,
    margin: {l: 64, r: 12, t: 12, b: 44},
    paper_bgcolor: 'transparent',
    plot_bgcolor: 'transparent',
    font: {family: theme.font, size: large ? 12 : 11, color: theme.quiet},
    hovermode: 'x unified',
    hoverlabel: {bgcolor: theme.paper, bordercolor: theme.grid, font: {color: theme.text}, align: 'left'},
    uirevision: 'kept',
    showlegend: false, // the legend is HTML, for the keyboard and for all four charts
    xaxis: {...axis(theme, along === 'steps' ? 'step' : 'minutes', zoom.x), ...xTicks(along), showgrid: false},
    yaxis: {
      ...axis(theme, chart.title, zoom.y[chart.name]),
      type: chart.name === 'loss' && log ? 'log' : 'linear',
      rangemode: chart.floor ?? 'normal',
      showspikes: false,
      exponentformat: 'e',
    },
    shapes: bases.map(base => baseLine(base, theme)),
  };
}

function axis(theme, title, range) {
  return {
    title: {text: title, standoff: 8},
    ...(range ? {range: [...range], autorange: false} : {autorange: true}),
    uirevision: false, // the zoom is kept here, so that resetting it is not undone by plotly's own memory
    gridcolor: theme.grid,
    linecolor: theme.grid,
    zeroline: false,
    spikecolor: theme.quiet,
    spikethickness: 1,
    spikedash: 'solid',
    nticks: 7,
    ticklabeloverflow: 'allow', // the margins leave room; looking whether there is takes a third of a drawing
  };
}

function xTicks(along) {
  const few = Math.max(0, ...[...runs.values()].map(run => run.metrics.get('loss')?.steps.at(-1) ?? 0)) < 7;
  return along === 'steps'
    ? {tickformat: ',d', dtick: few && !zoom.x ? 1 : null, rangemode: 'tozero', ...hoverTitle('step %{x:,d}')}
    : {tickformat: '~g', rangemode: 'tozero', ...hoverTitle('%{x:.1f} minutes')};
}

function hoverTitle(text) {
  return {unifiedhovertitle: {text}};
}

// The losses of the untouched models, one per distinct value: runs of the same base share it.
function baseLosses(shown, log) {
  const labels = new Map(); // value -> labels of its runs
  for (const run of shown) {
    const points = run.metrics.get('base_loss');
    if (!points?.values.length || (log && points.values.at(-1) <= 0)) continue;
    const value = Number(points.values.at(-1).toPrecision(4));
    labels.set(value, [...(labels.get(value) ?? []), run.label]);
  }
  const of = those => (labels.size > 1 ? ` of ${escape(those.join(', '))}` : '');
  return [...labels].map(([value, those]) => ({value, text: `base model${of(those)} ${value}`}));
}

function baseLine({value, text}, theme) {
  return {
    type: 'line',
    xref: 'paper',
    x0: 0,
    x1: 1,
    y0: value,
    y1: value,
    line: {color: theme.quiet, width: 1.5, dash: '5px,4px'},
    label: {text, textposition: 'end', yanchor: 'bottom', font: {color: theme.quiet, size: 12}},
  };
}

// An unseen point, large so that the axis leaves room for the line's label.
function roomFor({value}) {
  const ends = [...runs.values()].map(run => run.metrics.get('loss') ?? run.metrics.get('validation_loss'));
  const x = Math.max(0, ...ends.map(points => points?.[control('along').value].at(-1) ?? 0)) / 2;
  return {type: 'scatter', mode: 'markers', x: [x], y: [value], marker: {size: 36}, opacity: 0, hoverinfo: 'skip'};
}

function colour(run, theme) {
  return COLOURS[run.slot % COLOURS.length] || theme.text;
}

// Plotly reads some tags and entities in its texts.
function escape(label) {
  const short = label.length > 48 ? `${label.slice(0, 47)}…` : label;
  return short.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function theme() {
  const style = getComputedStyle(stage);
  const value = name => style.getPropertyValue(name).trim();
  return {
    text: value('--body-text-color') || style.color,
    quiet: value('--live-plot-quiet') || style.color,
    grid: value('--live-plot-grid') || 'rgba(128, 128, 128, 0.3)',
    paper: value('--background-fill-primary') || 'Canvas',
    font: style.fontFamily,
  };
}

function readZoom(chart, node) {
  const chosen = ({autorange, range}) => (autorange ? null : [...range]);
  zoom.x = chosen(node.layout.xaxis);
  zoom.y[chart.name] = chosen(node.layout.yaxis);
  scheduleDraw(); // the other charts follow along the x axis
}

// --- Legend and summary ----------------------------------------------------------------------------------------

function listRuns() {
  const wanted = JSON.stringify([...runs].map(([id, run]) => [id, run.label, run.slot]));
  if (runList.dataset.shows === wanted) return; // a button keeps the focus while points come in
  runList.dataset.shows = wanted;
  runList.replaceChildren(...[...runs.values()].map(legendItem));
}

function legendItem(run) {
  const item = document.createElement('li');
  const button = document.createElement('button');
  const name = document.createElement('span');
  button.type = 'button';
  button.title = run.label;
  button.setAttribute('aria-pressed', String(!run.hidden));
  button.addEventListener('click', () => {
    run.hidden = !run.hidden;
    button.setAttribute('aria-pressed', String(!run.hidden));
    scheduleDraw();
  });
  name.textContent = run.label;
  button.append(swatch(run), name);
  item.append(button);
  return item;
}

function swatch(run) {
  const picture = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  const dash = DASHES[run.slot % DASHES.length];
  const attributes = {
    d: 'M0 5H32',
    'stroke-width': '3',
    'stroke-dasharray': dash === 'solid' ? 'none' : dash.replaceAll('px', ''),
    stroke: colour(run, {text: 'currentColor'}),
  };
  for (const [name, value] of Object.entries(attributes)) path.setAttribute(name, value);
  picture.setAttribute('width', '32');
  picture.setAttribute('height', '10');
  picture.setAttribute('aria-hidden', 'true');
  picture.append(path);
  return picture;
}

function scheduleSummary() {
  if (summary) return;
  summarise();
  summary = setTimeout(() => {
    summary = 0;
    summarise();
  }, LABEL_SECONDS * 1000);
}

function summarise() {
  const texts = [...runs.values()].map(run => {
    const told = run.metrics.has(REWARD)
      ? [[REWARD, 'reward'], [`${HELD_OUT}reward`, 'held-out reward']]
      : [['loss', 'training loss'], ['validation_loss', 'held-out loss']];
    const parts = told.flatMap(([metric, name]) => latest(run, metric, name));
    return `${run.label}: ${parts.join(', ') || 'no points yet'}.`;
  });
  const text = isEmpty() ? 'Training chart, no points yet.' : `Training chart. ${texts.join(' ')}`;
  region.setAttribute('aria-label', text);
}

function latest(run, metric, name) {
  const points = run.metrics.get(metric);
  if (!points?.steps.length) return [];
  return [`${name} ${points.values.at(-1).toPrecision(3)} at step ${points.steps.at(-1)}`];
}

// --- Wiring ----------------------------------------------------------------------------------------------------

function resetZoom() {
  zoom = {x: null, y: {}};
  scheduleDraw();
}

function onSmoothing() {
  element.querySelector('output').value = Number(control('smoothing').value).toFixed(2);
  scheduleDraw();
}

function onLog() {
  zoom.y.loss = null; // its numbers were of the other scale
  scheduleDraw();
}

function onAlong() {
  zoom.x = null; // its numbers were of the other unit
  scheduleDraw();
}

function onRelease() {
  if (!held) return;
  held = false;
  scheduleDraw(); // at the next frame, after plotly has read the end of the drag
}

const resizing = new ResizeObserver(scheduleDraw); // also when a hidden tab comes into view
const theming = new MutationObserver(scheduleDraw);
const nearing = new IntersectionObserver(seen => seen.some(one => one.isIntersecting) && scheduleDraw(), {rootMargin: `${NEAR}px`});

function dispose() {
  resizing.disconnect();
  theming.disconnect();
  nearing.disconnect();
  clearTimeout(smallDue);
  window.removeEventListener('pointerup', onRelease);
  window.removeEventListener('pointercancel', onRelease);
  clearTimeout(summary);
  [...region.children].forEach(node => Plotly?.purge(node));
}

control('smoothing').addEventListener('input', onSmoothing);
control('log').addEventListener('change', onLog);
control('along').addEventListener('change', onAlong);
control('reset').addEventListener('click', resetZoom);
region.addEventListener('pointerdown', () => { held = true; });
window.addEventListener('pointerup', onRelease);
window.addEventListener('pointercancel', onRelease);
resizing.observe(region);
for (const node of [document.documentElement, document.body]) {
  theming.observe(node, {attributes: true, attributeFilter: ['class']});
}
watch('value', () => apply(props.value));
apply(props.value);
loadPlotly().then(loaded => {
  Plotly = loaded;
  scheduleDraw();
}, console.error);
