/* The server-sent events of a reply, each with its data read. */
export async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const frames = (rest + part.value).split("\n\n");
    rest = frames.pop();
    for (const frame of frames) {
      const event = frame.match(/^event: (.+)\ndata: (.+)$/);
      if (event) yield { name: event[1], data: JSON.parse(event[2]) };
    }
  }
}
