// What the pages of Great Expectations take from Bootstrap and jQuery, as far as it is in use: folding, and the filter
// for what is not met. The pages are complete without it.
"use strict";

function filterValidations(failedOnly) {
    for (const cell of document.querySelectorAll(".hide-succeeded-validation-target-child")) {
        cell.parentElement.hidden = failedOnly;
    }
    for (const part of document.querySelectorAll(".hide-succeeded-validations-column-section-target-child")) {
        const section = part.closest(".ge-section");
        section.hidden = failedOnly;
        for (const link of document.querySelectorAll(`a[href="#${section.id}"]`)) {
            link.hidden = failedOnly;
        }
    }
}

document.addEventListener("click", (event) => {
    const fold = event.target.closest('[data-toggle="collapse"]');
    if (fold) {
        event.preventDefault();
        const open = document.getElementById(fold.hash.slice(1)).classList.toggle("show");
        fold.setAttribute("aria-expanded", String(open));
    }
    const button = event.target.closest(".btn-group-toggle .btn");
    if (button) {
        if (button.dataset.filter) {
            filterValidations(button.dataset.filter === "hide");
        }
        for (const other of button.parentElement.children) {
            other.classList.toggle("active", other === button);
        }
    }
});
