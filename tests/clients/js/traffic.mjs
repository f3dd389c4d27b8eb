// A fetch that tells of every exchange, so that the suite can judge what the server answered.

const JSON_TYPE = /^application\/json\b/i;

/** Text stays text; anything else is told of by its size. */
function tellable(bytes, type) {
  return bytes.length === 0 || JSON_TYPE.test(type ?? "") ? bytes.toString("utf8") : `(${bytes.length} bytes)`;
}

async function bytesOf(body) {
  if (body === null || body === undefined) return Buffer.alloc(0);
  return body instanceof Blob ? Buffer.from(await body.arrayBuffer()) : Buffer.from(body);
}

/**
 * @param tell called with each exchange: client, method, path (raw), query, request_headers (without the token),
 *   request_body, status (null when no answer came), response_headers, response_body, error, and when it began and
 *   ended in seconds since 1970.
 */
export function recordingFetch(client, tell) {
  return async function fetchAndTell(resource, options = {}) {
    const url = new URL(resource);
    const headers = Object.fromEntries(new Headers(options.headers));
    if ("authorization" in headers) headers.authorization = "Bearer (withheld)";
    const exchange = {
      client,
      method: (options.method ?? "GET").toUpperCase(),
      path: url.pathname,
      query: url.search.slice(1),
      request_headers: headers,
      request_body: tellable(await bytesOf(options.body), headers["content-type"]),
      status: null,
      response_headers: {},
      response_body: "",
      error: null,
      began: Date.now() / 1000,
    };
    try {
      const response = await fetch(resource, options);
      const body = Buffer.from(await response.clone().arrayBuffer());
      exchange.response_headers = Object.fromEntries(response.headers);
      exchange.response_body = tellable(body, response.headers.get("content-type"));
      exchange.status = response.status;
      return response;
    } catch (failure) {
      exchange.error = options.signal?.aborted ? "aborted by the client" : String(failure.cause ?? failure);
      throw failure;
    } finally {
      exchange.ended = Date.now() / 1000;
      tell(exchange);
    }
  };
}
