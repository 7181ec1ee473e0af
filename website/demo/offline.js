// The service worker: keeps the page's own files, so that the second visit needs no network.
// The build puts VERSION and FILES before this text. Models and engines are kept by downloads.js.

const SHELL = `rmpe-page-${VERSION}`;
const ENGINES = 'rmpe-engines';

addEventListener('install', (event) => {
  event.waitUntil(caches.open(SHELL).then((cache) => cache.addAll(FILES.map((file) => new Request(file, { cache: 'reload' })))).then(() => skipWaiting()));
});

addEventListener('activate', (event) => {
  const drop = (name) => (name.startsWith('rmpe-page-') && name !== SHELL ? caches.delete(name) : null);
  event.waitUntil(caches.keys().then((names) => Promise.all(names.map(drop))).then(() => clients.claim()));
});

async function kept(request) {
  const path = new URL(request.url).pathname;
  const shell = await caches.open(SHELL);
  const found = await shell.match(request.mode === 'navigate' ? 'index.html' : request, { ignoreSearch: true });
  if (found) return found;
  if (!path.endsWith('.mjs')) return fetch(request);
  // A script of the other engine, asked for by the switch.
  const engines = await caches.open(ENGINES);
  const before = await engines.match(request);
  if (before) return before;
  const response = await fetch(request);
  if (response.ok) await engines.put(request, response.clone());
  return response;
}

addEventListener('fetch', (event) => {
  if (event.request.method === 'GET' && event.request.url.startsWith(registration.scope)) event.respondWith(kept(event.request));
});
