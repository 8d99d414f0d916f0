/*
description: Which airline to trust.
checks:
  - unique: airline
  - between: {column: on_time_percent, min: 0, max: 100}
*/
SELECT
    airline,
    count(*) AS flights,
    round(100.0 * count(*) FILTER (arrival_delay_minutes <= 15) / count(*), 1) AS on_time_percent,
    round(100.0 * count(*) FILTER (cancelled) / count(*), 1) AS cancelled_percent,
    round(avg(arrival_delay_minutes), 1) AS average_delay_minutes
FROM silver.flights
GROUP BY airline
