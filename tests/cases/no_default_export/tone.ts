export const plugin = { kind: "judge", name: "tone" };
