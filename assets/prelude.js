// Runs once Gradio's page has its description (window.gradio_config) and before it builds itself from that.

const {components = [], dependencies = []} = window.gradio_config ?? {};

// The page opens at the tab its address names, so that a reload, a bookmark and the way back lead where one was.
const tabs = components.find((component) => component.props.elem_id === 'tabs');
const named = location.hash.slice(1);
if (components.some(({type, props}) => type === 'tabitem' && props.id === named)) tabs.props.selected = named;

// Svelte watches every plain object, and Gradio looks at each event once for each component: a third of a second on a laptop.
// Nothing in an event ever changes, and an object of a class is not watched.
class Unwatched {}
class UnwatchedList extends Array {}
for (const event of dependencies) Object.setPrototypeOf(event, Unwatched.prototype);
Object.setPrototypeOf(dependencies, UnwatchedList.prototype);

// Goodbye, to app/presence.py. The session's name stands in no place but the addresses the page asks.
addEventListener('pagehide', () => {
  const session = performance.getEntriesByType('resource').map(({name}) => name.match(/\/heartbeat\/(\w+)/)?.[1]).find(Boolean);
  if (session) navigator.sendBeacon(`departed/${session}`);
});
