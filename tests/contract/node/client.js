// The rest of a client; what stands before it is the block of docs/serving.md. It prints what it finds as one JSON.
const exact = grpc.loadPackageDefinition(
  loader.loadSync("featurestore/v1/serving.proto", {
    includeDirs: ["proto"], keepCase: true, longs: String, enums: String, bytes: String, defaults: true,
  })
).featurestore.v1;
const exactClient = new exact.ServingService("127.0.0.1:6566", grpc.credentials.createInsecure());

const keys = (...values) => [{ name: "k", int64s: { values } }];

const raw = (method, request, of = exactClient) => new Promise((resolve, reject) =>
  of[method](request, { deadline: Date.now() + 10000 }, (error, answer) => (error ? reject(error) : resolve(answer))));

async function refused(request) {
  try {
    await call("GetOnlineFeatures", request);
    return null;
  } catch (error) {
    const [details] = error.metadata.get("grpc-status-details-bin");
    return { code: error.code, details: error.details, status: details.toString("latin1") };
  }
}

const health = () => new Promise((resolve, reject) =>
  client.makeUnaryRequest("/grpc.health.v1.Health/Check", (one) => one, (one) => one, Buffer.alloc(0),
    (error, answer) => (error ? reject(error) : resolve([...answer]))));

// Each answer by its number: the features of the first row, or the error.
const stream = (requests) => new Promise((resolve, reject) => {
  const found = {};
  const both = exactClient.StreamOnlineFeatures({ deadline: Date.now() + 10000 });
  both.on("data", (one) => { found[one.correlation_id] = one.error ?? one.response.rows[0]; });
  both.on("error", reject);
  both.on("end", () => resolve(found));
  for (const [number, request] of Object.entries(requests)) both.write({ correlation_id: number, request });
  both.end();
});

async function push() {
  const answer = await raw("PushFeatures", {
    view: "everything",
    columns: [
      ...keys(4),
      { name: "int64", int64s: { values: ["9007199254740993"] } },
      { name: "event_timestamp", int64s: { values: [String(Date.now() * 1000)] } },
    ],
  });
  const response = await raw("GetOnlineFeatures", { service: "all", columns: keys(4) });
  return { accepted: answer.rows_accepted, row: response.rows[0] };
}

(async () => {
  const schema = await call("GetServiceSchema", { service: "all" });
  const rows = await raw("GetOnlineFeatures", { service: "all", columns: keys(1, 2, 3, 9), request_id: "from-node" });
  const plain = await call("GetOnlineFeatures", { service: "plain", columns: keys(1, 2, 3, 9) });
  const plainSchema = await call("GetServiceSchema", { service: "plain" });
  console.log(JSON.stringify({
    schema: schema.views.map((view) => [view.name, view.features.map((one) => [one.name, one.dtype])]),
    request_id: rows.request_id,
    service: rows.service,
    rows: rows.rows,
    values: plain.rows.map((row, i) => read(row, plainSchema.views[Math.floor(i / 4)].features)),
    aging: plain.rows.slice(4).map((row) => row.status),
    unknown: await refused({ service: "al", columns: keys(1) }),
    wrong: await refused({ service: "all", columns: [{ name: "k", strings: { values: ["a"] } }] }),
    stream: await stream({
      7: { service: "all", columns: keys(1) },
      "18446744073709551615": { service: "all", columns: keys(9) },
      8: { service: "none", columns: keys(1) },
    }),
    health: await health(),
    push: await push(),
  }, (_, value) => (Buffer.isBuffer(value) ? value.toString("base64") : value)));
  client.close();
  exactClient.close();
})().catch((error) => { console.error(error); process.exit(1); });
