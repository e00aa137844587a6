// Runs once Gradio's page has its description (window.gradio_config) and before it builds itself from that.

const {components = [], dependencies = [], layout} = window.gradio_config ?? {};

// The page opens at the tab its address names, so that a reload, a bookmark and the way back lead where one was.
const inLayout = (id, node) => (node.id === id ? node : node.children?.map((child) => inLayout(id, child)).find(Boolean));
const tabs = components.find((component) => component.props.elem_id === 'tabs');
if (tabs) {
  const own = new Set(inLayout(tabs.id, layout).children.map(({id}) => id));
  const named = components.find(({id, props}) => own.has(id) && props.id === location.hash.slice(1));
  if (named) tabs.props.selected = named.props.id;
}

// Svelte watches every plain object, and Gradio looks at each event once for each component: a third of a second on a laptop.
// Nothing in an event ever changes, and an object of a class is not watched.
class Unwatched {}
class UnwatchedList extends Array {}
for (const event of dependencies) Object.setPrototypeOf(event, Unwatched.prototype);
Object.setPrototypeOf(dependencies, UnwatchedList.prototype);

// Gradio counts the seconds of every wait sixty times a second, those of its own loading for as long as the page is open, and
// each time the browser draws the page: a tenth of a core, from whatever trains on the same machine. Once a second will do.
const atNextFrame = window.requestAnimationFrame.bind(window);
const counts = (callback) => /performance\.now\(\)-.+\/1e3/.test(callback);
window.requestAnimationFrame = (callback) => (counts(callback) ? setTimeout(callback, 1000) : atNextFrame(callback));

// Goodbye, to app/presence.py. The session's name stands in no place but the addresses the page asks.
addEventListener('pagehide', () => {
  const session = performance.getEntriesByType('resource').map(({name}) => name.match(/\/heartbeat\/(\w+)/)?.[1]).find(Boolean);
  if (session) navigator.sendBeacon(`departed/${session}`);
});
