/** The figures of a run that earlier starts recorded, as the events that they were: what a tracker of a resumed run hears. @module */
import type { Envelope, EventMap } from "../events.ts";
import type { Row } from "./store.ts";

type FigureEvent = "train.stepped" | "evaluation.completed" | "metric.recorded";

/** Steps, evaluations and metrics recorded before the event `until`, in their order. */
export async function recordedFigures(
  store: { query(sql: string): Promise<Row[]> },
  run_id: string,
  until: number,
): Promise<Envelope[]> {
  const of = async <K extends FigureEvent>(type: K, table: string, data: (row: Row) => EventMap[K]) => {
    const rows = await store.query(
      `SELECT t.*, e.source, epoch_ms(e.recorded_at) AS at FROM ${table} t JOIN events e USING (seq) WHERE seq < ${until}`,
    );
    return rows.map((row) =>
      ({ seq: row.seq, at: row.at, run_id, source: row.source, type, data: data(row) }) as unknown as Envelope
    );
  };
  const figures = await Promise.all([
    of("train.stepped", "train_steps", step),
    of("evaluation.completed", "evaluations", evaluation),
    of("metric.recorded", "metrics", metric),
  ]);
  return figures.flat().sort((a, b) => a.seq - b.seq);
}

function step({ optimizer_step, kind, loss, metrics, seconds, checkpoint, staleness }: Row) {
  return {
    step: Number(optimizer_step),
    kind: kind as "rl",
    loss: Number(loss ?? 0),
    metrics: JSON.parse(String(metrics)),
    seconds: Number(seconds),
    checkpoint: String(checkpoint),
    staleness: Number(staleness),
  };
}

function evaluation({ policy, policy_version, split, temperature, mean, low, high, n, seconds }: Row) {
  return { policy, policy_version, split, temperature, success: { mean, low, high, n }, seconds } as EventMap[
    "evaluation.completed"
  ];
}

function metric({ name, value, kind, optimizer_step }: Row) {
  return {
    name: String(name),
    value: Number(value),
    step: Number(optimizer_step),
    ...(typeof kind === "string" && { kind: kind as "rl" }),
  };
}
