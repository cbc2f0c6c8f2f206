// Pages opened from a folder may not start workers: the search runs in a hidden frame there instead.
if (location.protocol === "file:") {
  class FrameWorker extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const inner = frame.contentWindow;
      this.waiting = [];
      inner.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }));
      inner.importScripts = async (...urls) => {
        for (const one of urls) await load(inner.document, one);
      };
      this.deliver = data => inner.dispatchEvent(new inner.MessageEvent("message", { data }));
      this.remove = () => frame.remove();
      load(inner.document, url).then(() => {
        this.waiting.forEach(this.deliver);
        this.waiting = null;
      });
    }
    postMessage(data) {
      if (this.waiting) this.waiting.push(data);
      else this.deliver(data);
    }
    terminate() { this.remove(); }
  }
  function load(document, url) {
    return new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = url;
      script.onload = done;
      script.onerror = failed;
      document.body.append(script);
    });
  }
  window.IFrameWorker = window.Worker = FrameWorker;
}
