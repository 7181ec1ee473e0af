// Large files: downloaded once, kept by the browser under their SHA-256, and checked each time they are used.

const KEPT = 'rmpe-files';

async function sha256(bytes) {
  const digest = await crypto.subtle.digest('SHA-256', bytes);
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** A response's bytes, unpacked; `onbytes` hears how many packed ones have come. */
async function unpacked(response, onbytes) {
  const counted = new TransformStream({
    transform(chunk, controller) {
      onbytes(chunk.byteLength);
      controller.enqueue(chunk);
    },
  });
  const stream = response.body.pipeThrough(counted).pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/**
 * The contents of a file of models.json: {url, sha256}, where the hash is that of the unpacked contents.
 *
 * @throws Error in words for people, if it cannot be had or is not the right one.
 */
export async function load(file, base, onbytes) {
  const kept = await caches.open(KEPT);
  const key = new URL(`kept/${file.sha256}`, base);
  const before = await kept.match(key);
  if (before) {
    const bytes = await unpacked(before, onbytes);
    if ((await sha256(bytes)) === file.sha256) return bytes;
    await kept.delete(key); // damaged on this machine
  }
  const response = await fetch(new URL(file.url, base));
  if (!response.ok) throw new Error(`${file.url} cannot be downloaded (${response.status}).`);
  const copy = response.clone();
  const saved = kept.put(key, new Response(copy.body)).catch(() => {}); // no room: it works without, but not offline
  const bytes = await unpacked(response, onbytes);
  await saved;
  if ((await sha256(bytes)) !== file.sha256) {
    await kept.delete(key);
    throw new Error(`${file.url} is not the file that this page expects. Reload the page.`);
  }
  return bytes;
}
