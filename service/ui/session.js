// What the header says: which models answer, or that a key is needed. The same on every page.
import { send, useKey } from "./api.js";
import { byId } from "./dom.js";

const RELOAD = 2000;

/** A function that asks for the models, again and again until there are some, and hands them to `found`. */
export function session(found) {
  let reload = 0;

  async function load() {
    clearTimeout(reload);
    let models;
    try {
      models = (await send("v1/models")).body.models;
    } catch (error) {
      if (error.status === 401) byId("key-form").hidden = false;
      else reload = setTimeout(load, RELOAD);
      const refused = byId("key").value ? "This key is not accepted" : "A key is needed";
      state(error.status === 401 ? refused : error.message);
      return;
    }
    if (models.length) {
      state(`${models.length} ${models.length === 1 ? "model answers" : "models answer"}`, true);
    } else {
      state("No model answers yet");
      reload = setTimeout(load, RELOAD);
    }
    found(models);
  }

  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    useKey(byId("key").value);
    load();
  });
  return load;
}

function state(text, good = false) {
  byId("state").textContent = text;
  byId("state").classList.toggle("good", good);
}
