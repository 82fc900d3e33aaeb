export default { kind: "judge", name: "tone", summary: "Scores tone.", config: {}, create: () => ({}) };
