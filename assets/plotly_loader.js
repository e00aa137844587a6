// Brings plotly into the page, once; with PLOTLY_PATH given. Put before whatever draws with it.

// Plotly is kept under a name of our own: Gradio puts another version at `window.Plotly` for its own plots.
function loadPlotly() {
  window.StudioPlotlyLoading ??= new Promise((resolve, reject) => {
    const {root = '', api_prefix: prefix = '/gradio_api'} = window.gradio_config ?? {};
    const others = window.Plotly;
    const script = document.createElement('script');
    script.src = `${root}${prefix}/file=${encodeURI(PLOTLY_PATH)}`;
    script.onload = () => {
      window.StudioPlotly = window.Plotly;
      if (others) window.Plotly = others;
      resolve(window.StudioPlotly);
    };
    script.onerror = () => reject(new Error(`The chart's script did not load: ${script.src}`));
    document.head.append(script);
  });
  return window.StudioPlotlyLoading;
}
