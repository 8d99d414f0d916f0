/*
description: Why to take the first plane of the day.
checks:
  - unique: hour
  - between: {column: hour, min: 0, max: 23}
*/
SELECT
    hour,
    count(*) AS flights,
    round(avg(departure_delay_minutes), 1) AS average_delay_minutes
FROM silver.flights
GROUP BY hour
