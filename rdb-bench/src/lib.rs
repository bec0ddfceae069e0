//! Workloads over any FlareDB engine, how they are measured, and how the figures are shown.
