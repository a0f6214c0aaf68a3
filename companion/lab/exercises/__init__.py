"""The checks of the exercises, a file for each lesson: from companion.lab.exercises import lesson_02 as exercises."""
