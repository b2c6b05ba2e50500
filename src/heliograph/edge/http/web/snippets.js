// The same question from a program. Names of files are not put in: a hostile one could leave its
// quotes in somebody's shell. Values are percent-encoded, so no quote survives in an address.

export function curl({ address, query, keyed, pictured }) {
  const parts = keyed ? ['-H "Authorization: Bearer $HELIOGRAPH_KEY"'] : [];
  parts.push("--data-binary @photo.jpg");
  if (pictured) parts.push("-o answer.png");
  parts.push(`'${location.origin}${address}${search(query)}'`);
  return `curl ${parts.join(" \\\n  ")}`;
}

export function python({ verb, name, query, keyed }) {
  const given = Object.entries(query).map(([key, value]) => `${key}=${literal(value)}`);
  const method = name ? "predict" : verb;
  const values = ['"photo.jpg"', ...(name ? [`"${name}"`] : []), ...given].join(", ");
  return [
    "import heliograph",
    "",
    ...(keyed ? ["# The key is read from the environment: HELIOGRAPH_KEY"] : []),
    `client = heliograph.Client("${location.origin}")`,
    `answer = client.${method}(${values})`,
    "print(answer)",
    'answer.save("answer.png")',
  ].join("\n");
}

export function search(query) {
  // Colons and commas may stand in a query; pipelines are easier to read with them.
  const text = new URLSearchParams(query).toString().replaceAll("%3A", ":").replaceAll("%2C", ",");
  return text && `?${text}`;
}

const literal = (value) => (/^[0-9]+(\.[0-9]+)?$/.test(value) ? value : JSON.stringify(value));
