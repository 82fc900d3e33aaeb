export default { kind: "juge", name: "tone", summary: "Scores tone.", examples: [], create: () => ({}) };
