import { Code, Stack, Text } from "@mantine/core";

/** A test runs it as it is here, with a secret and a port of its own. */
const EXAMPLE = `# pip install standardwebhooks
from http.server import BaseHTTPRequestHandler, HTTPServer
from standardwebhooks import Webhook

webhook = Webhook("whsec_…")  # the secret of your webhook
seen = set()  # a table of yours, if this may start again


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        # The bytes as they came; raises where the signature is not right.
        message = webhook.verify(body, dict(self.headers))
        self.send_response(204)
        self.end_headers()
        if self.headers["webhook-id"] not in seen:
            seen.add(self.headers["webhook-id"])
            print(message["type"], message["data"], flush=True)


HTTPServer(("", 8080), Receiver).serve_forever()
`;

/** What a program has to do that takes the messages. */
export function Receiver() {
  return (
    <Stack gap="xs">
      <Text>
        Your receiver verifies the signature, drops messages whose <Code>webhook-id</Code> it has seen (each
        comes at least once, and they may overtake each other), and answers with a <Code>2xx</Code> at once,
        before it does the work. Any other answer is a failed try, and the message comes again, over some
        days. In Python, with the package <Code>standardwebhooks</Code>:
      </Text>
      <Code block tabIndex={0} aria-label="A receiver in Python" data-example>
        {EXAMPLE}
      </Code>
      <Text>
        Messages follow the Standard Webhooks specification, for which there are libraries in most languages.
        A message only says what happened to what: ask the API for the rest.
      </Text>
    </Stack>
  );
}
