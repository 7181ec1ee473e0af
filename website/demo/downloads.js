// Large files: downloaded once, kept by the browser under their SHA-256, and checked each time they are used.

const KEPT = 'rmpe-files';

async function sha256(bytes) {
  const digest = await crypto.subtle.digest('SHA-256', bytes);
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** A response's bytes, unpacked; `onbytes` hears how many packed ones have come. */
async function unpacked(response, apart, onbytes) {
  const counted = new TransformStream({
    transform(chunk, controller) {
      onbytes(chunk.byteLength);
      controller.enqueue(chunk);
    },
  });
  const stream = response.body.pipeThrough(counted).pipeThrough(new DecompressionStream('gzip'));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  return apart ? together(bytes) : bytes;
}

/** Four-byte numbers whose bytes lie apart, first all the first ones (so they pack better), put together again. */
export function together(bytes) {
  const count = bytes.length >> 2;
  const whole = new Uint8Array(bytes.length);
  for (let plane = 0; plane < 4; plane += 1) {
    for (let at = 0; at < count; at += 1) whole[4 * at + plane] = bytes[plane * count + at];
  }
  whole.set(bytes.subarray(4 * count), 4 * count);
  return whole;
}

/**
 * The contents of a file of models.json: {url, sha256, apart}, where the hash is that of the contents themselves.
 *
 * @throws Error in words for people, if it cannot be had or is not the right one.
 */
export async function load(file, base, onbytes) {
  const kept = await caches.open(KEPT);
  const key = new URL(`kept/${file.sha256}`, base);
  const before = await kept.match(key);
  if (before) {
    const bytes = await unpacked(before, file.apart, onbytes);
    if ((await sha256(bytes)) === file.sha256) return bytes;
    await kept.delete(key); // damaged on this machine
  }
  const response = await fetch(new URL(file.url, base));
  if (!response.ok) throw new Error(`${file.url} cannot be downloaded (${response.status}).`);
  const copy = response.clone();
  const saved = kept.put(key, new Response(copy.body)).catch(() => {}); // no room: it works without, but not offline
  const bytes = await unpacked(response, file.apart, onbytes);
  await saved;
  if ((await sha256(bytes)) !== file.sha256) {
    await kept.delete(key);
    throw new Error(`${file.url} is not the file that this page expects. Reload the page.`);
  }
  return bytes;
}
